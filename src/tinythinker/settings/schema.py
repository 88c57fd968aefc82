"""Every setting of the product, one frozen model per verb. No other file holds a default.

Each field is also a YAML key and a command-line override: `reflect.rounds=3`. Settings are merged from the
defaults here, the task's preset (`presets/*.yaml`), a `--config` file, and `key.path=value` overrides; later
ones win (`settings.resolve`). Settings that only make sense together form a group that exists or is null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tinythinker.core.errors import expected, shortened
from tinythinker.core.formats import Json
from tinythinker.core.masking import holds_secret
from tinythinker.core.names import Names

TASKS = Names("task", ("csqa", "obqa", "strategyqa", "storeroom"))
"""Benchmarks; what they stand for is in `tasks.registry`."""
HUB = "hub:"
"""Begins a task that is a data set of the Hugging Face Hub."""
QUESTION_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".xlsx", ".xls", ".ods", ".gz")
"""Endings of files of questions; one that exists may have any ending."""
SOURCES = Names("teacher.source", ("openai", "ecqa", "facts", "official", "recorded", "scripted", "none"))
"""Teacher sources; what they stand for is in `teacher.sources`."""
LOSSES = Names("reflect.loss", ("dpo", "ipo", "dpo_norm", "grpo", "none"))
"""Preference losses; what they stand for is in `reflect.losses`."""

SHORTEST_PROMPT = 8
"""Fewest tokens that prompts may be limited to."""
Share = Annotated[float, Field(ge=0, le=1)]
Folder = Annotated[Path, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""A path. YAML reads a folder name such as 2024 as a number; here it becomes text again."""


def _is_env_name(value: object) -> object:
    """Refuse a value that cannot name an environment variable, without repeating it: it may be a key."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "setting teacher.llm.key_env: found a value that cannot name an environment variable (not shown), "
            "expected a name such as OPENAI_API_KEY, never the key itself"
        )
    return value


EnvName = Annotated[str, BeforeValidator(_is_env_name)]
"""The name of an environment variable."""


_HIDES_SOMETHING = re.compile(r"[@?#;=&%\s]|[^!-~]")
"""Where a user, a password, a query, a fragment or a parameter begins or is spelled in disguise."""


def _is_plain_address(value: object) -> object:
    """An address without a trailing slash; any other value is refused without repeating it: it may hold a key."""
    try:
        parts = urlsplit(value) if isinstance(value, str) and not _HIDES_SOMETHING.search(value) else None
        is_address = parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half a pair of brackets
        is_address = False
    if not isinstance(value, str) or not is_address:
        raise ValueError(
            "setting teacher.llm.base_url: found no plain address (not shown: it may hold a key), expected one such as "
            "http://localhost:8000/v1, without user, password, query or parameters: settings are written to files, so "
            "put the key into the environment (teacher.llm.key_env)"
        )
    return value.rstrip("/")


Address = Annotated[str, BeforeValidator(_is_plain_address)]
"""The address of an endpoint, without anything secret in it."""

_OURS = frozenset("model messages n stream temperature max_tokens max_completion_tokens response_format".split())
"""Fields of a request that other settings control."""


def _are_more_fields(value: object) -> object:
    """Fields to add to a request; what may hold a key is refused without being repeated."""
    if not isinstance(value, dict):
        raise ValueError("found no mapping (not shown), expected fields such as {reasoning_effort: low}")
    if taken := sorted(_OURS & value.keys()):
        raise ValueError(f"found {taken}, expected other fields: settings control these")
    try:
        json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"found {shortened(value)}, expected what JSON can hold ({error})") from None
    if holds_secret(value):
        raise ValueError(
            "found what looks like a key or a password (not shown), expected none: settings are written to "
            "files, so put the key into the environment (teacher.llm.key_env)"
        )
    return value


RequestFields = Annotated[Json, BeforeValidator(_are_more_fields)]
"""More fields of a request to a language model."""

_one_or_more = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
SamplesPerRound = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), _one_or_more]
"""A number of samples: one for all rounds of phase 2, or a list with one per round."""
TemperaturePerRound = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), _one_or_more]
"""A temperature: one for all rounds of phase 2, or a list with one per round."""

N = TypeVar("N", int, float)


class Settings(BaseModel):
    """Base of every settings model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


class LimitSettings(Settings):
    """Use only some of the questions: a seeded draw, kept in file order."""

    train: int | None = Field(None, ge=1)
    """Training questions to keep; null keeps all."""
    valid: int | None = Field(None, ge=1)
    """Validation questions to keep; null keeps as many as limit.train, or all if that is null too."""
    test: int | None = Field(None, ge=1)
    """Test questions to keep; null keeps all."""


class SplitSettings(Settings):
    """How to divide questions that have no official split, after a seeded shuffle."""

    valid: float = Field(0.1, gt=0, lt=1)
    """Share of the questions used for validation."""
    test: float = Field(0.1, gt=0, lt=1)
    """Share of the questions used for testing."""
    valid_file: Path | None = None
    """File with your own validation questions, used instead of a share; null takes the share."""
    test_file: Path | None = None
    """File with your own test questions, used instead of a share; null takes the share."""

    @model_validator(mode="after")
    def _leaves_some_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(expected("split.valid + split.test", self.valid + self.test, "less than 1"))
        return self


def _as_columns(value: object) -> object:
    """One column or a list of them, as a list of texts; YAML reads a column named 1 as a number."""
    return tuple(map(_as_text, value if isinstance(value, list | tuple) else (value,))) if value is not None else None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Column = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
"""The name of a column."""
Columns = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_columns)]
"""The name of a column, or a list of names."""


class DataSettings(Settings):
    """How your own questions are read where the file does not say it; `tinythinker check FILE` shows what it says."""

    question: Columns | None = None
    """Column of the question, or a list of columns that are joined by a blank, of which the last may not be empty;
    null recognises it."""
    options: Columns | None = None
    """Column that holds all options, or a list of columns with one option each; null recognises them."""
    answer: Column | None = None
    """Column of the right answer; null recognises it."""
    answer_base: int | None = Field(None, ge=0, le=1)
    """What the first option's number is, where answers are numbers; null takes what the file itself decides."""
    id: Column | None = None
    """Column of the question's name, which must be unique; null recognises it, or counts lines."""
    recall: Column | None = None
    """Column with general knowledge that helps to answer: the file then brings its own rationales
    (teacher.source=recorded without teacher.path)."""
    analyses: Columns | None = None
    """Column with a list of one analysis per option, or a list of columns; needs data.recall."""
    encoding: str | None = None
    """Encoding of a text file, such as cp1252; null finds it out."""
    sheet: Column | None = None
    """Sheet of a workbook; null takes the only one."""

    @model_validator(mode="after")
    def _recalls_before_it_analyzes(self) -> Self:
        if self.analyses is not None and self.recall is None:
            raise ValueError("setting data.recall with data.analyses: found null, expected a column")
        return self


class StoreroomSettings(Settings):
    """The built-in benchmark: invented things, containers and facts about them, generated from the seed."""

    things: int = Field(40, ge=2, le=400)
    """Number of invented things; each has a property."""
    containers: int = Field(40, ge=8, le=400)
    """Number of invented containers; each is made of a material."""
    materials: int = Field(5, ge=2, le=8)
    """Number of materials, and of properties: each property needs one material."""
    options: int = Field(4, ge=2, le=26)
    """Containers offered per question; exactly one fits."""
    train: int = Field(1500, ge=1)
    """Number of training questions."""
    valid: int = Field(200, ge=1)
    """Number of validation questions. Their combinations of thing and container occur in no other split."""
    test: int = Field(400, ge=1)
    """Number of test questions. Their combinations of thing and container occur in no other split."""
    annotated: Share = 0.7
    """Share of the things that rationales mention. The other things occur only in labelled questions."""
    rationales: int = Field(1, ge=1, le=20)
    """Rationales per annotated question, each worded differently."""
    hops: int = Field(1, ge=1, le=3)
    """Facts that lead from a thing to its property. 1: the thing has it; 2: its kind has it; 3: the kind of
    its kind has it. A recall names all of these facts."""
    wrong: Share = 0.0
    """Share of the rationales that state a wrong fact and still defend the right answer."""
    malformed: Share = 0.0
    """Share of the teacher's completions that are garbled, and so rejected."""


class LlmSettings(Settings):
    """A language model as teacher, behind an OpenAI-compatible endpoint (`teacher.source=openai`)."""

    model: str = Field(min_length=1)
    """Name of the language model, as the endpoint knows it."""
    base_url: Address = "https://api.openai.com/v1"
    """Address of the endpoint, such as http://localhost:11434/v1 for Ollama."""
    key_env: EnvName = "OPENAI_API_KEY"
    """Environment variable that holds the API key. The key itself is never a setting."""
    prompt: Folder | None = None
    """YAML file with your own instruction and worked examples; null uses the built-in ones for the task."""
    show_gold: bool = True
    """Tell the teacher the right answer and have it explain that answer, as in the paper."""
    examples: int = Field(7, ge=0)
    """Worked examples in the prompt, a seeded draw from the available ones."""
    structured: bool = False
    """Request JSON that follows a schema (response_format). Not every endpoint supports it."""
    request: RequestFields = Field(default_factory=dict)
    """More fields of every request, such as {reasoning_effort: low}, on top of those of the prompt file; null leaves
    a field out."""
    samples: int = Field(8, ge=1, le=128)
    """Usable completions to collect per question."""
    temperature: float | None = Field(0.8, ge=0)
    """Sampling temperature of the teacher; null uses the endpoint's default."""
    max_tokens: int | None = Field(None, ge=1)
    """Maximum tokens per completion; null: 256, or more for questions with many options or long worked examples. If a
    question's completion is cut off, later requests for that question double the limit, up to eight times this
    number."""
    waves: int = Field(3, ge=0)
    """Waves of requests; each wave requests only the completions that are still missing. 0 sends nothing and
    uses the answers received so far."""
    keep: int | None = Field(None, ge=1)
    """Maximum rationales to keep per question; null keeps up to teacher.llm.samples."""
    duplicate_distance: int = Field(10, ge=0)
    """A recall is a duplicate if at most this many character edits separate it from another one of its question; 0
    counts only equal ones."""
    duplicates: Literal["first", "refill"] = "first"
    """What to do about duplicates. first: keep the first one; refill: take rationales without a duplicate first, and
    then a random draw of the others, as many as may be kept (the official code)."""
    reject_leaks: bool = False
    """Reject rationales whose recall contains the text of the option they argue for."""
    mode: Literal["direct", "batch"] = "direct"
    """How requests are sent. direct: one by one; batch: as batch jobs, which take up to a day and cost half
    at OpenAI."""
    poll_seconds: float = Field(60.0, gt=0)
    """Seconds between checks on a batch job."""
    stream: bool = False
    """Ask for the answer in pieces, for endpoints that give no other; mode direct only."""
    concurrency: int = Field(32, ge=1, le=1000)
    """Maximum requests in flight at once."""
    requests_per_minute: int | None = Field(None, ge=1)
    """Maximum requests per minute; null sets no limit."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """Maximum tokens per minute, counting the prompt and the most that a request may generate; null sets no
    limit."""
    timeout_seconds: float = Field(120.0, gt=0)
    """Maximum seconds that one try of a request may take in total."""
    attempts: int = Field(10, ge=1)
    """Tries per request before the request is skipped."""
    backoff_seconds: float = Field(1.0, gt=0)
    """Seconds to wait before the second try. The wait doubles with each try, up to a minute, with jitter; a wait that
    the server asks for takes precedence."""
    budget: float | None = Field(None, ge=0)
    """Spending limit in US dollars; the run stops before a request that could exceed it. null sets no
    limit."""
    budget_tokens: int | None = Field(None, ge=0)
    """Limit on tokens used, prompts and completions together; the run stops before a request that could
    exceed it. null sets no limit."""
    input_price: float | None = Field(None, ge=0)
    """US dollars per million prompt tokens; null looks the model up in the price list (genai-prices)."""
    output_price: float | None = Field(None, ge=0)
    """US dollars per million completion tokens; null looks the model up in the price list (genai-prices)."""


class TeacherSettings(Settings):
    """Where rationales come from."""

    source: Annotated[str, SOURCES] = "recorded"
    """Who writes the rationales. openai: a language model behind an OpenAI-compatible endpoint; ecqa: human
    explanations of CommonsenseQA; facts: the facts in OpenBookQA's and StrategyQA's files (recall only);
    official: the training files of the official code; recorded: a file of rationales; scripted: Storeroom's
    built-in teacher; none: nobody (stages.plan=summarize learns from labels alone)."""
    path: Folder | None = None
    """Folder with ecqa_*.jsonl (source ecqa) or with summarize.json (official), or file of rationales (recorded)."""
    licence: str | None = None
    """Note on the licence of the rationales, written into the header of their file; null writes what is known
    about the source."""
    annotated: float = Field(1.0, gt=0, le=1)
    """Share of the training questions that the teacher explains, a seeded draw. Phase 1 learns to reason from these,
    phase 2 uses the labels of all. 1: all of them. On Storeroom, `storeroom.annotated` chooses things, not
    questions."""
    label_policy: Literal["gold", "teacher"] = "gold"
    """What to do with rationales whose verdicts contradict the gold label. gold: drop them; teacher: let
    their label replace the gold label if more than half of the question's rationales agree on it (FIDELITY,
    defect 12)."""
    llm: LlmSettings | None = None
    """The language model, with source openai; null with any other source."""

    @model_validator(mode="after")
    def _asks_the_model_it_names(self) -> Self:
        if self.llm is not None and self.source != "openai":
            where = f"setting teacher.source with teacher.llm.model={self.llm.model}"
            raise ValueError(expected(where, self.source, "openai"))
        if self.llm is None and self.source == "openai":
            raise ValueError("setting teacher.llm.model: found nothing, expected the name of a model")
        return self


class StageSettings(Settings):
    """What the student learns, and in which wording."""

    plan: Literal["full", "summarize", "recall_summarize", "analyze_summarize", "cot", "multitask"] = "full"
    """Stages to train and to answer with. full: all three; recall_summarize and analyze_summarize leave one
    out. Baselines: summarize learns from labels alone; cot writes recall, analyses and answer as one text;
    multitask learns label and rationale as two tasks."""
    template: Literal["paper", "named", "cloze"] = "paper"
    """Wording of the prompts. paper: as published; named: the analyze prompt also gives the option's text; cloze:
    Question: ... Answer:, without a list of the options, the form that suits a small language model."""
    answer: Literal["letter", "named", "text"] | None = None
    """How the answer is written. letter: So the answer is option B.; named: So the answer is option B (bank).; text:
    bank. null: text with template cloze, letter with the others."""
    interval: int = Field(100, ge=1)
    """Optimizer steps per turn of a stage; a turn of analyze has this many steps for every option."""
    order: Literal["interleaved", "shuffled", "sequential"] = "interleaved"
    """How the stages share the training. interleaved: they take turns (the paper); shuffled: every batch
    mixes all stages; sequential: each stage gets its whole share of the steps before the next one starts."""
    rationale_weight: float = Field(1.0, gt=0)
    """Weight of the rationale loss relative to the label loss (plan multitask)."""
    rationales: int | None = Field(None, ge=1)
    """Maximum rationales to learn from per question; null uses all."""
    shuffle_rationales: bool = False
    """Give every question the rationales of another one with as many options: a control that should fail."""
    permute_options: bool = False
    """Show each training question's options in a new seeded order every epoch."""

    @model_validator(mode="after")
    def _asks_for_what_it_shows(self) -> Self:
        if self.template == "cloze" and self.answer in ("letter", "named"):
            raise ValueError(
                expected("setting stages.answer with stages.template=cloze", self.answer, "text: it shows no letters")
            )
        return self


class LoraSettings(Settings):
    """Low-rank adapters around frozen weights. Source: Hu et al. 2021, arXiv:2106.09685."""

    rank: int = Field(ge=1)
    """Rank of the adapters."""
    alpha: float = Field(32.0, gt=0)
    """Scale of the adapters: their output is multiplied by this number divided by the rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapters' input, in phase 1."""
    targets: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the layers to adapt, such as [q_proj, v_proj]; null adapts every linear layer except the
    output layer."""
    save: Literal["merged", "adapter"] = "merged"
    """What a trained student's folder holds. merged: whole weights, and phase 2 starts with fresh adapters on
    top of them; adapter: only the adapters, which load on top of `student.name`, and phase 2 continues to
    train them."""


class StudentSettings(Settings):
    """The model that learns."""

    init: Literal["pretrained", "scratch"] = "pretrained"
    """Initial weights. pretrained: load `student.name`; scratch: random weights of `student.size`."""
    name: str = "google-t5/t5-small"
    """Pretrained model to load: a Hugging Face name or a folder. It may be an encoder-decoder such as T5, or
    a causal model such as Qwen, Llama, SmolLM, Gemma or GPT-2."""
    family: Literal["seq2seq", "causal"] = "seq2seq"
    """Architecture of a student with random weights. seq2seq: a T5; causal: a decoder like Qwen3."""
    size: Literal["1m", "4m", "t5-small", "t5-base"] = "1m"
    """Size of a student with random weights. 1m and 4m count the weights outside the vocabulary; t5-small and
    t5-base exist only as a T5."""
    chat_template: bool = False
    """Format every prompt as the user's turn of the tokenizer's chat template, and every target as the reply
    (causal students only)."""
    sentencepiece: Path | None = None
    """SentencePiece vocabulary file for a student with random weights; null trains a word-level vocabulary on
    the task."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout in phase 1. Phase 2 trains without dropout (FIDELITY, defect 2)."""
    max_prompt_tokens: int | None = Field(None, ge=SHORTEST_PROMPT)
    """Maximum tokens of a prompt; null: as many as the model can read. In longer prompts the reasoning gives way,
    then the question's stem; the cuts are counted and reported."""
    max_target_tokens: int = Field(512, ge=4)
    """Maximum tokens of a target. Longer targets lose their end; the cuts are counted and reported."""
    lora: LoraSettings | None = None
    """Low-rank adapters (LoRA) that both phases train instead of the weights; needs the extra [peft]. null trains
    all weights."""

    @model_validator(mode="after")
    def _has_that_shape(self) -> Self:
        if self.init == "scratch" and self.family == "causal" and self.size.startswith("t5"):
            raise ValueError(expected("setting student.size with student.family=causal", self.size, "1m or 4m"))
        if self.init == "scratch" and self.lora is not None:
            where = "setting student.lora with student.init=scratch"
            raise ValueError(expected(where, f"rank {self.lora.rank}", "null"))
        if self.init == "pretrained" and self.family != "seq2seq":
            wanted = "no such setting: the model at student.name decides its family"
            raise ValueError(expected("setting student.family with student.init=pretrained", self.family, wanted))
        if self.init == "scratch" and self.chat_template:
            raise ValueError(expected("setting student.chat_template with student.init=scratch", True, "false"))
        return self


class OptimSettings(Settings):
    """Settings that both training phases share."""

    epochs: int | None = Field(10, ge=1)
    """Passes over all examples (phase 2: over all pairs of a round); null trains until max_steps."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after this many optimizer steps; the learning-rate schedule ends there too. null: all epochs."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak AdamW learning rate per optimizer step, reached at the end of warm-up."""
    warmup: Share = 0.1
    """Share of the steps over which the learning rate rises from zero; after that it falls along a cosine."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay."""
    batch_size: int = Field(64, ge=1)
    """Examples (phase 2: pairs) per optimizer step."""
    batches: Literal["examples", "questions"] = "examples"
    """How examples come into batches. examples: one by one; questions: those made from one rationale (phase 2: the
    pairs of one question) stay together, and a causal student then reads once what they begin with."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Maximum examples (phase 2: pairs) per forward pass; null cuts each batch into pieces of similar length.
    The gradient is that of the whole batch either way."""
    max_gradient_norm: float = Field(1.0, gt=0)
    """Norm to which gradients are clipped."""
    validate_every: int | None = Field(None, ge=1)
    """Optimizer steps between validations (each with a checkpoint); null: one cycle of the stages."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations in a row without a new best; null trains to the end."""
    bf16: Literal["auto", "always", "never"] = "auto"
    """Train in mixed precision with bfloat16. auto: on GPUs that support it and on CPUs with AMX or AVX512-BF16."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of storing them: less memory, about a third more time."""
    shard: bool = False
    """Split weights, gradients and optimizer state across the processes (FSDP): less memory per process, more
    traffic."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.epochs is None and self.max_steps is None:
            raise ValueError("settings epochs and max_steps (of train or reflect): found null twice, expected a number")
        return self


class TrainSettings(OptimSettings):
    """Phase 1, reasoning acquisition: supervised training on all stages."""


class ReflectSettings(OptimSettings):
    """Phase 2, self-reflection: sample from the student, pair right with wrong, train on the difference."""

    rounds: int = Field(5, ge=0)
    """Rounds of sampling, pairing and training. Each round starts from the student of the round before."""
    questions: int | None = Field(None, ge=1)
    """Training questions to sample chains for in each round, a new seeded draw every time; null uses all."""
    samples_per_question: SamplesPerRound = (10,)
    """Recalls to draw per question, and sets of analyses to draw per chosen recall. A list gives one number
    per round; its last number repeats."""
    temperature: TemperaturePerRound = (0.7,)
    """Sampling temperature of the stage under reflection; the other stages decode greedily. A list gives one
    value per round; its last value repeats."""
    sampling: Literal["even", "uncertain"] = "even"
    """How recalls are spread over the questions. even: the same number for each. uncertain: half the number
    (rounded up) for each, and the rest for the questions that were solved only sometimes, at most four times
    the number more for each of them; samples that those questions cannot take are not drawn."""
    stages: tuple[Literal["recall", "analyze", "summarize"], ...] = Field(("recall", "analyze"), min_length=1)
    """Stages to make pairs of. summarize, which the paper leaves out: the right answer against another one, under the
    student's own reasoning, so that it learns to answer from what it really recalls and analyzes."""
    pairs: Folder | None = None
    """File of pairs to train on in every round, with fields prompt, chosen and rejected on each line, such as a
    round's pairs.jsonl; null makes pairs of the student's own chains."""
    analyze_under: Literal["chosen", "paired"] = "chosen"
    """Recalls under which analyses are drawn. chosen: all of the student's that led to the gold label; paired: the
    chosen texts of recall pairs, the teacher's among them, so none for a question without such a pair (the official
    code)."""
    fallback: bool = False
    """Where none of the drawn sets of analyses led to the gold label, take the student's greedy set or, under a
    teacher's recall, the teacher's set as the chosen one (the official code)."""
    on_policy: Share = 1.0
    """Share of the chosen recalls that the student wrote. The teacher's recalls replace the rest, or less of
    it if the question has too few of them."""
    replay_rounds: int = Field(0, ge=0)
    """Also train on the pairs of this many earlier rounds."""
    interval: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Optimizer steps on the pairs of one stage before the other stage takes its turn. auto: the official rule, one
    step more than the recall pairs fill batches, and for every recall pair as many turns of analyze as there are
    analyze pairs to it, plus one."""
    epoch: Literal["pairs", "cycle"] = "pairs"
    """What an epoch of phase 2 is. pairs: a pass over all pairs; cycle: one turn of every stage, which begins a
    stage's pairs again once they are used up (the official code)."""
    loss: Annotated[str, LOSSES] = "dpo"
    """Preference loss on the pairs (see `reflect.losses`). dpo, ipo: the published losses; dpo_norm: dpo on
    log-probabilities per token; grpo: every sampled text weighs by its chain's reward less its question's mean,
    clipped against the round's start; none: the student only learns the chosen texts (self-training)."""
    clip: float = Field(0.2, gt=0, lt=1)
    """How far a text's probability per token may move from the round's start before it stops counting (loss grpo)."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Share of the pairs assumed to be mislabelled, with chosen and rejected swapped (losses dpo and
    dpo_norm)."""
    reference: Literal["previous", "initial"] = "previous"
    """The frozen reference. previous: the student that the round starts from (the paper); initial: the
    student of phase 1."""
    beta: float = Field(0.5, gt=0)
    """Sharpness of the preference loss, which multiplies margins by this number. A smaller one lets the
    student move further from the reference."""
    alpha: float = Field(0.5, ge=0)
    """Weight of the chosen texts' mean negative log-likelihood (NLL), which is added to the preference loss; 0
    turns it off."""
    nll: Literal["text", "batch"] = "text"
    """What that mean is over. text: the tokens of each text, then the texts; batch: all tokens of the batch, so long
    texts count more (the official code)."""
    rollback: bool = True
    """Let the student that a round starts from compete with the round's checkpoints, so that a round that
    does not help changes nothing."""
    learning_rate: float = Field(5e-6, gt=0)
    """Peak AdamW learning rate per optimizer step, reached at the end of warm-up."""
    batch_size: int = Field(32, ge=1)
    """Pairs per optimizer step."""

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if self.sampling == "uncertain" and min(self.samples_per_question) < 3:
            wanted = "3 or more, so that half of them can disagree"
            key = "setting reflect.samples_per_question with reflect.sampling=uncertain"
            raise ValueError(expected(key, list(self.samples_per_question), wanted))
        if self.on_policy < 1 and "recall" not in self.stages:
            key = "setting reflect.on_policy without recall among reflect.stages"
            raise ValueError(expected(key, self.on_policy, "1: it only concerns recalls"))
        if self.loss == "none" and self.reference == "initial":
            wanted = "previous: without a preference loss there is no reference"
            raise ValueError(expected("setting reflect.reference with reflect.loss=none", self.reference, wanted))
        if self.loss == "none" and self.alpha == 0:
            raise ValueError(expected("setting reflect.alpha with reflect.loss=none", self.alpha, "more than 0"))
        if self.loss == "grpo" and self.on_policy < 1:
            wanted = "1: only sampled texts have a reward"
            raise ValueError(expected("setting reflect.on_policy with reflect.loss=grpo", self.on_policy, wanted))
        if self.loss == "grpo" and self.pairs is not None:
            wanted = "null: a reward is that of a sampled chain"
            raise ValueError(expected("setting reflect.pairs with reflect.loss=grpo", str(self.pairs), wanted))
        if self.loss in ("ipo", "grpo", "none") and self.label_smoothing:
            raise ValueError(
                expected(f"setting reflect.label_smoothing with reflect.loss={self.loss}", self.label_smoothing, "0")
            )
        return self


def in_round(values: tuple[N, ...], number: int) -> N:
    """The value of a setting in a round, counted from 1; a list that is too short repeats its last value."""
    return values[min(number, len(values)) - 1]


Normalize = Literal["none", "characters", "tokens"]
"""How options of different lengths are compared; see `generate.normalize`."""


class GenerateSettings(Settings):
    """How a student's text is decoded, in training, reflection and evaluation alike."""

    batch_size: int = Field(128, ge=1)
    """Prompts decoded at once."""
    max_recall_tokens: int = Field(128, ge=1)
    """Maximum tokens of a recall."""
    max_analysis_tokens: int = Field(128, ge=1)
    """Maximum tokens of the analysis of one option."""
    max_conclusion_tokens: int = Field(16, ge=8)
    """Maximum tokens of the conclusion, one fixed sentence."""
    answer: Literal["free", "constrained"] = "free"
    """How the student answers. free: it writes a conclusion, and the label is read from it; constrained: the
    most likely option is taken."""
    normalize: Normalize | None = None
    """How likely an option of several words is, with answer constrained. none: the probability of its text; characters
    and tokens: the log-probability per character or per token of the option's text, so that long texts are not at a
    disadvantage. null: characters where the answer is a text, none otherwise."""
    bf16: Literal["auto", "always", "never"] = "auto"
    """Decode in bfloat16. auto: sampled chains only, on GPUs that support it and on CPUs with AMX or
    AVX512-BF16; always: greedy chains too."""


class EvaluateSettings(Settings):
    """Testing. None of these settings changes a student; each is part of the verdict file's name."""

    split: Literal["test", "valid"] = "test"
    """Questions to answer: the test or the validation split."""
    votes: int = Field(1, ge=1)
    """Chains per question. 1: a greedy chain; more: a majority vote over sampled ones (self-consistency)."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature of recall and analyze when votes > 1; summarize is greedy."""
    plan: Literal["full", "summarize", "recall_summarize", "analyze_summarize"] | None = None
    """Stages to answer with, some of those that the student has learned; null: all of them."""


class RunSettings(Settings):
    """All settings of a run."""

    task: str
    """csqa, obqa, strategyqa, storeroom, a file with your own questions, or hub:OWNER/NAME[/CONFIG]."""
    data_dir: Folder | None = None
    """Folder with the benchmark's official files; null downloads them from the Hugging Face Hub."""
    seed: int = Field(42, ge=0)
    """Seed of every random stream: splits, draws, weights, dropout, samples."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Experiment trackers that get the figures of both phases while they train; each needs its library. They change
    nothing, so a run that has begun may change them."""
    limit: LimitSettings = LimitSettings()
    split: SplitSettings = SplitSettings()
    data: DataSettings = DataSettings()
    storeroom: StoreroomSettings = StoreroomSettings()
    teacher: TeacherSettings = TeacherSettings()
    stages: StageSettings = StageSettings()
    student: StudentSettings = StudentSettings()
    train: TrainSettings = TrainSettings()
    generate: GenerateSettings = GenerateSettings()
    reflect: ReflectSettings = ReflectSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    def plain(self) -> Json:
        """All settings as JSON values."""
        return self.model_dump(mode="json")


SECTIONS: Mapping[str, tuple[str, ...]] = {
    "teach": ("task", "data_dir", "seed", "limit", "split", "data", "storeroom", "teacher"),
    "train": ("trackers", "stages", "student", "train", "generate"),
    "reflect": ("reflect",),
    "evaluate": ("evaluate",),
}
"""The settings that each verb is the first to read; later verbs read those of earlier ones too."""

_HOW_TO_ASK = (
    "base_url key_env mode stream poll_seconds concurrency requests_per_minute tokens_per_minute timeout_seconds "
    "attempts backoff_seconds budget budget_tokens input_price output_price waves"
)
MAPPINGS = frozenset({"teacher.llm.request"})
"""Settings that are mappings themselves, not groups of settings."""
EXTENDABLE = frozenset({"reflect.rounds", "trackers", *(f"teacher.llm.{name}" for name in _HOW_TO_ASK.split())})
"""Settings that may change after a run has begun: they add work or say how to do it, and undo nothing."""
