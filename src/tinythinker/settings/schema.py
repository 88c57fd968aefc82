"""Every setting of the product: one frozen model per verb, and nothing else holds a default.

A field is a YAML key is an override: `reflect.rounds=3`. Settings come, later over earlier, from the defaults here, the
task's preset (`presets/*.yaml`), a `--config` file, and `key.path=value` overrides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from tinythinker.core.errors import SettingsError, expected
from tinythinker.core.files import Json, read_text
from tinythinker.core.run import Bound

Share = Annotated[float, Field(ge=0, le=1)]
Folder = Annotated[Path, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""A path; a folder called 2024 is no number."""


def _is_env_name(value: object) -> object:
    """Refuse what cannot name an environment variable, without repeating it: it may be a key."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "setting teacher.key_env: found something else than the name of an environment variable (not shown), "
            "expected a name such as OPENAI_API_KEY; never the key itself"
        )
    return value


EnvName = Annotated[str, BeforeValidator(_is_env_name)]
"""The name of an environment variable."""


_one_or_more = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
SamplesPerRound = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), _one_or_more]
"""A number of samples for every round of phase 2, or for each."""
TemperaturePerRound = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), _one_or_more]
"""A temperature for every round of phase 2, or for each."""

N = TypeVar("N", int, float)


class Settings(BaseModel):
    """Base of every settings model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )


class LimitSettings(Settings):
    """Use fewer questions than there are: a seeded draw, kept in file order."""

    train: int | None = Field(None, ge=1)
    """Training questions to keep; null keeps all."""
    valid: int | None = Field(None, ge=1)
    """Validation questions to keep; null keeps all, or as many as limit.train where that is set."""
    test: int | None = Field(None, ge=1)
    """Test questions to keep; null keeps all."""


class SplitSettings(Settings):
    """How questions without an official split are divided; a seeded shuffle."""

    valid: float = Field(0.1, gt=0, lt=1)
    """Share of the questions that becomes validation data."""
    test: float = Field(0.1, gt=0, lt=1)
    """Share of the questions that becomes test data."""
    valid_file: Path | None = None
    """Your own validation questions, instead of a share."""
    test_file: Path | None = None
    """Your own test questions, instead of a share."""

    @model_validator(mode="after")
    def _leaves_some_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(expected("split.valid + split.test", self.valid + self.test, "less than 1"))
        return self


class StoreroomSettings(Settings):
    """The embedded benchmark: invented things, containers, and facts about them, made in memory from the seed."""

    things: int = Field(40, ge=2, le=400)
    """Invented things; each has a property."""
    containers: int = Field(40, ge=8, le=400)
    """Invented containers; each is made of a material."""
    materials: int = Field(5, ge=2, le=8)
    """Materials, and as many properties: every property needs one material."""
    options: int = Field(4, ge=2, le=26)
    """Containers offered per question; one of them fits."""
    train: int = Field(1500, ge=1)
    """Training questions."""
    valid: int = Field(200, ge=1)
    """Validation questions: combinations of thing and container that no other split has."""
    test: int = Field(400, ge=1)
    """Test questions: combinations of thing and container that no other split has."""
    annotated: Share = 0.7
    """Share of the things that any rationale mentions; the others occur in labelled questions only."""
    rationales: int = Field(1, ge=1, le=20)
    """Rationales per annotated question, each in a wording of its own."""
    hops: int = Field(1, ge=1, le=3)
    """Facts from a thing to its property. 1: the thing has it; 2: the thing is of a kind that has it; 3: of a kind of a
    kind. A recall names them all."""


class TeacherSettings(Settings):
    """Where rationales come from."""

    source: Literal["openai", "ecqa", "facts", "recorded", "scripted"] = "recorded"
    """openai: a language model behind an OpenAI-compatible endpoint; ecqa: human explanations of CommonsenseQA; facts:
    the facts in OpenBookQA's and StrategyQA's own files (recall only); recorded: a file of rationales; scripted:
    Storeroom's."""
    path: Folder | None = None
    """ecqa: the folder with ecqa_*.jsonl; recorded: the rationales file."""
    licence: str | None = None
    """Note on the licence of the rationales, kept in the header of their file; null: what is known of the source."""
    label_policy: Literal["gold", "teacher"] = "gold"
    """Rationales whose verdicts contradict the gold label: gold drops them; teacher lets them replace the label where
    they are most of a question's (FIDELITY, defect 12)."""
    wrong: Share = 0.0
    """scripted: share of the rationales that state a wrong fact and still defend the right answer."""
    malformed: Share = 0.0
    """scripted: share of the completions that are garbled."""
    model: str | None = None
    """openai: the model, as the endpoint names it."""
    base_url: str = "https://api.openai.com/v1"
    """openai: address of the endpoint, such as http://localhost:11434/v1 (Ollama)."""
    key_env: EnvName = "OPENAI_API_KEY"
    """openai: the environment variable that holds the API key; the key itself is never a setting."""
    prompt: Folder | None = None
    """openai: a YAML file with your own instruction and worked examples; null: those of the task's family."""
    show_gold: bool = True
    """openai: tell the teacher the right answer, so that it explains a known one (the paper)."""
    examples: int = Field(7, ge=0)
    """openai: worked examples to show, a seeded draw from those there are."""
    structured: bool = False
    """openai: ask for JSON by schema (response_format), for endpoints that have it."""
    samples: int = Field(8, ge=1, le=128)
    """openai: usable completions wanted per question."""
    temperature: float | None = Field(0.8, ge=0)
    """openai: sampling temperature; null leaves it to the endpoint."""
    max_tokens: int = Field(256, ge=1)
    """openai: most tokens of a completion; doubled, up to eightfold, for a question whose completion was cut off."""
    waves: int = Field(3, ge=0)
    """openai: how often to ask, each time only for what is missing; 0 asks nothing and uses what has been received."""
    keep: int | None = Field(None, ge=1)
    """openai: most rationales to keep per question; null: as many as teacher.samples."""
    duplicate_distance: int = Field(10, ge=0)
    """openai: a recall within this many edited characters of one already kept is a duplicate; 0: only if equal."""
    reject_leaks: bool = False
    """openai: reject rationales whose recall names the text of the option they argue for."""
    mode: Literal["direct", "batch"] = "direct"
    """openai: direct asks request by request; batch hands in batch jobs (half the price at OpenAI, up to a day)."""
    poll_seconds: float = Field(60.0, gt=0)
    """openai, batch: seconds between looks at a job."""
    concurrency: int = Field(32, ge=1, le=1000)
    """openai: most requests under way at once."""
    requests_per_minute: int | None = Field(None, ge=1)
    """openai: the endpoint's limit on requests; null: none."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """openai: the endpoint's limit on tokens, prompt and most completion tokens together; null: none."""
    timeout_seconds: float = Field(120.0, gt=0)
    """openai: longest a request may take in all."""
    attempts: int = Field(10, ge=1)
    """openai: how often a request is tried before it is passed over."""
    backoff_seconds: float = Field(1.0, gt=0)
    """openai: wait before the second try; doubles up to a minute, with jitter. A server's Retry-After goes first."""
    budget: float | None = Field(None, ge=0)
    """openai: most US dollars to spend; the run stops before a request that could exceed it. null: no limit."""
    budget_tokens: int | None = Field(None, ge=0)
    """openai: most tokens to use, prompts and completions together. null: no limit."""
    input_price: float | None = Field(None, ge=0)
    """openai: US dollars per million prompt tokens; null: from the price table, if it has the model."""
    output_price: float | None = Field(None, ge=0)
    """openai: US dollars per million completion tokens; null: from the price table, if it has the model."""

    @model_validator(mode="after")
    def _asks_the_model_it_names(self) -> Self:
        if self.model is not None and self.source != "openai":
            raise ValueError(expected(f"setting teacher.source with teacher.model={self.model}", self.source, "openai"))
        return self

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_address(cls, value: str) -> str:
        wanted = "an address such as http://localhost:8000/v1"
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError(expected("setting teacher.base_url", value, wanted)) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(expected("setting teacher.base_url", value, wanted))
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "setting teacher.base_url: found a user, password or query in it, expected a plain address: settings "
                "are written to files; put the key into the environment (teacher.key_env)"
            )
        return value.rstrip("/")


class StageSettings(Settings):
    """What the student is taught and in what wording."""

    plan: Literal["full", "summarize", "recall_summarize", "analyze_summarize", "cot", "multitask"] = "full"
    """Stages to train and to answer with: all three, or an ablation. Baselines: summarize learns from labels alone, cot
    writes recall, analyses and answer as one text, multitask learns label and rationale as two tasks."""
    template: Literal["paper", "named"] = "paper"
    """paper: the published wording; named: the analyze prompt also says the option's text."""
    interval: int = Field(100, ge=1)
    """Optimizer steps of recall, and of summarize, before the next stage's turn; analyze: times the options."""
    order: Literal["interleaved", "shuffled", "sequential"] = "interleaved"
    """interleaved: the stages take turns (the paper); shuffled: every batch mixes all stages; sequential: one stage's
    whole share of the training after the other's."""
    rationale_weight: float = Field(1.0, gt=0)
    """plan multitask: weight of the rationale task's loss beside the label task's."""
    rationales: int | None = Field(None, ge=1)
    """Most rationales to learn from per question; null: all there are."""
    shuffle_rationales: bool = False
    """A control that should fail: deal every question the rationale of another one with as many options."""
    permute_options: bool = False
    """Show each training question with its options in a fresh seeded order every epoch."""


class StudentSettings(Settings):
    """The model that learns."""

    init: Literal["pretrained", "scratch"] = "pretrained"
    """pretrained: load `student.name`; scratch: random weights of `student.size`."""
    name: str = "google-t5/t5-small"
    """pretrained: a Hugging Face name or a folder with a model of either family: an encoder-decoder such as T5, or a
    causal one such as Qwen, Llama, SmolLM, Gemma or GPT-2."""
    family: Literal["seq2seq", "causal"] = "seq2seq"
    """scratch: a T5, or a decoder of Qwen3's architecture."""
    size: Literal["1m", "4m", "t5-small", "t5-base"] = "1m"
    """scratch: the shape; 1m and 4m count the weights outside the vocabulary. The others are T5's alone."""
    chat_template: bool = False
    """causal: make every prompt the user's turn in the tokenizer's chat template, and every target the answer."""
    sentencepiece: Path | None = None
    """scratch: a SentencePiece vocabulary file; null trains a word-level vocabulary on the task."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout in phase 1; phase 2 trains without (FIDELITY, defect 2)."""
    max_prompt_tokens: int = Field(200, ge=8)
    """Longer prompts are cut at the front, counted and reported."""
    max_target_tokens: int = Field(200, ge=4)
    """Longer targets are cut at the end, counted and reported."""
    lora_rank: int | None = Field(None, ge=1)
    """Train low-rank adapters (LoRA) of this rank in both phases, and not the weights; needs the extra [peft]. null:
    train all weights."""
    lora_alpha: float = Field(32.0, gt=0)
    """LoRA: what the adapters add is scaled by this over the rank."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """LoRA: dropout before the adapters, in phase 1."""
    lora_targets: tuple[str, ...] | None = Field(None, min_length=1)
    """LoRA: names of the layers to adapt, such as [q_proj, v_proj]; null: every linear layer but the output layer."""
    lora_save: Literal["merged", "adapter"] = "merged"
    """LoRA: merged saves whole weights, and phase 2 begins with fresh adapters on them; adapter saves the adapters
    alone, to be loaded on top of `student.name`, and phase 2 goes on with them."""

    @model_validator(mode="after")
    def _has_that_shape(self) -> Self:
        if self.init == "scratch" and self.family == "causal" and self.size.startswith("t5"):
            raise ValueError(expected("setting student.size with student.family=causal", self.size, "1m or 4m"))
        if self.init == "scratch" and self.lora_rank is not None:
            raise ValueError(expected("setting student.lora_rank with student.init=scratch", self.lora_rank, "null"))
        if self.init == "pretrained" and self.family != "seq2seq":
            wanted = "no such setting: the model at student.name has a family of its own"
            raise ValueError(expected("setting student.family with student.init=pretrained", self.family, wanted))
        if self.lora_rank is None:
            for name in ("lora_alpha", "lora_dropout", "lora_targets", "lora_save"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    wanted = "student.lora_rank, too: without it there are no adapters"
                    raise ValueError(expected(f"setting student.{name}", getattr(self, name), wanted))
        if self.init == "scratch" and self.chat_template:
            raise ValueError(expected("setting student.chat_template with student.init=scratch", True, "false"))
        return self


class OptimSettings(Settings):
    """What both phases of training have in common."""

    epochs: int = Field(10, ge=1)
    """Passes over all examples (phase 2: over all pairs of a round)."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after so many optimizer steps; the learning-rate schedule ends there too. null: all epochs."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak AdamW rate, reached after warm-up, per optimizer step."""
    warmup: Share = 0.1
    """Share of the steps over which the rate rises from zero; it then falls along a cosine."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay."""
    batch_size: int = Field(64, ge=1)
    """Examples (phase 2: pairs) per optimizer step."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Most examples (phase 2: pairs) per forward pass; null: as many as are worth padding to one length. Gradients add
    up to the whole batch's either way."""
    max_gradient_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    validate_every: int | None = Field(None, ge=1)
    """Optimizer steps between validations and checkpoints; null: once per cycle of the stages."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations in a row without a new best; null: train to the end."""
    bf16: Literal["auto", "always", "never"] = "auto"
    """Mixed precision in bfloat16; auto: on GPUs that have it."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, about a third more time."""
    shard: bool = False
    """Share out weights, gradients and optimizer state over the processes (FSDP): less memory on each, more traffic."""


class TrainSettings(OptimSettings):
    """Phase 1, reasoning acquisition: supervised training on all stages."""


class ReflectSettings(OptimSettings):
    """Phase 2, self-reflection: sample from the student, pair right with wrong, train on the difference, repeat."""

    rounds: int = Field(5, ge=0)
    """Sample-pair-train rounds. Each starts from the student of the one before."""
    questions: int | None = Field(None, ge=1)
    """Training questions to sample on per round, a fresh seeded draw; null: all."""
    samples_per_question: SamplesPerRound = (10,)
    """Recalls drawn per question, and sets of analyses drawn per chosen recall. A list has a number for each round."""
    temperature: TemperaturePerRound = (0.7,)
    """Sampling temperature of the stage under reflection; the other stages decode greedily. A list has one for each
    round."""
    sampling: Literal["even", "uncertain"] = "even"
    """even: every question gets the same number of recalls; uncertain: half of them, and the other half goes to the
    questions that were sometimes solved and sometimes not, as far as these can take it (at most four times the number
    each); what they cannot is saved."""
    stages: tuple[Literal["recall", "analyze"], ...] = Field(("recall", "analyze"), min_length=1)
    """Which stages to make pairs of."""
    on_policy: Share = 1.0
    """Share of the chosen recalls that stay the student's own; the others give way to the teacher's, as far as the
    question has some."""
    replay_rounds: int = Field(0, ge=0)
    """Train on the pairs of so many earlier rounds, too."""
    interval: int = Field(100, ge=1)
    """Optimizer steps on recall pairs before the analyze pairs' turn, and the other way round."""
    loss: Literal["dpo", "ipo", "dpo_norm", "none"] = "dpo"
    """What the pairs teach (`reflect.dpo`): dpo; ipo; dpo_norm: dpo on log-probabilities per token; none: nothing, so
    that only the chosen text is learned (self-training)."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """dpo, dpo_norm: the share of pairs that are taken to be the wrong way round."""
    reference: Literal["previous", "initial"] = "previous"
    """The frozen reference: the student the round starts from (the paper), or phase 1's."""
    beta: float = Field(0.5, gt=0)
    """Sharpness of the preference loss: margins are multiplied by it. A small one lets the student move further from
    its reference."""
    alpha: float = Field(0.5, ge=0)
    """Weight of the chosen text's mean negative log-likelihood, added to the preference loss; 0 switches it off."""
    rollback: bool = True
    """Does the student that a round starts from compete for being the round's best? Then a round that does not help
    changes nothing."""
    learning_rate: float = Field(5e-6, gt=0)
    """Peak AdamW rate, reached after warm-up, per optimizer step."""
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
            raise ValueError(expected(key, self.on_policy, "1: it is about recalls"))
        if self.loss == "none" and self.reference == "initial":
            wanted = "previous: without a preference there is nothing to refer to"
            raise ValueError(expected("setting reflect.reference with reflect.loss=none", self.reference, wanted))
        if self.loss == "none" and self.alpha == 0:
            raise ValueError(expected("setting reflect.alpha with reflect.loss=none", self.alpha, "more than 0"))
        if self.loss in ("ipo", "none") and self.label_smoothing:
            raise ValueError(
                expected(f"setting reflect.label_smoothing with reflect.loss={self.loss}", self.label_smoothing, "0")
            )
        return self


def in_round(values: tuple[N, ...], number: int) -> N:
    """The value of a setting in a round, from 1; a list that is too short goes on with its last value."""
    return values[min(number, len(values)) - 1]


class GenerateSettings(Settings):
    """How a student's text is decoded, in training, reflection and evaluation alike."""

    batch_size: int = Field(128, ge=1)
    """Prompts decoded at once."""
    max_recall_tokens: int = Field(128, ge=1)
    """Longest recall."""
    max_analysis_tokens: int = Field(128, ge=1)
    """Longest analysis of one option."""
    answer: Literal["free", "constrained"] = "free"
    """free: write the conclusion and read the label in it; constrained: take the likeliest of the labels."""
    bf16: Literal["auto", "always", "never"] = "auto"
    """Decode in bfloat16; auto: sampled chains, on GPUs that have it and on CPUs with AMX or AVX512-BF16. Greedy
    chains are decoded in float32 unless always."""


class EvaluateSettings(Settings):
    """Testing. Nothing here changes a student; every choice is part of the verdict file's name."""

    split: Literal["test", "valid"] = "test"
    """Which questions to answer."""
    votes: int = Field(1, ge=1)
    """1: one greedy chain; more: self-consistency, a majority over that many sampled chains."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature of recall and analyze when votes > 1; summarize is greedy."""


class RunSettings(Settings):
    """All settings of a run."""

    task: str
    """csqa, obqa, strategyqa, storeroom, or a .jsonl or .csv file of your own questions."""
    data_dir: Folder | None = None
    """Folder with the benchmark's official files; null fetches them from the Hugging Face Hub."""
    seed: int = Field(42, ge=0)
    """Seed of every random stream: splits, draws, weights, dropout, samples."""
    limit: LimitSettings = LimitSettings()
    split: SplitSettings = SplitSettings()
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

    def bound(self) -> Bound:
        """The settings that may not change once their verb has begun."""
        plain = self.plain()
        by_verb = {
            verb: {
                key: value
                for key, value in flatten({name: plain[name] for name in names if name != "evaluate"}).items()
                if key not in EXTENDABLE
            }
            for verb, names in SECTIONS.items()
        }
        return Bound(by_verb, flatten(RunSettings(task=self.task).plain()))


SECTIONS: Mapping[str, tuple[str, ...]] = {
    "teach": ("task", "data_dir", "seed", "limit", "split", "storeroom", "teacher"),
    "train": ("stages", "student", "train", "generate"),
    "reflect": ("reflect",),
    "evaluate": ("evaluate",),
}
"""Which settings each verb reads first; later verbs build on what earlier ones read."""

_HOW_TO_ASK = (
    "base_url key_env mode poll_seconds concurrency requests_per_minute tokens_per_minute timeout_seconds attempts "
    "backoff_seconds budget budget_tokens input_price output_price waves"
)
EXTENDABLE = frozenset({"reflect.rounds", *(f"teacher.{name}" for name in _HOW_TO_ASK.split())})
"""Settings that may change on a run that has begun: they add work or say how to do it, and change nothing done."""


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """`{"reflect": {"beta": 0.5}}` as `{"reflect.beta": 0.5}`."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


class FieldLine(Settings):
    """One setting as a person reads it."""

    key: str
    default: str
    allowed: str
    meaning: str


def describe_settings(verb: str | None = None) -> Iterator[FieldLine]:
    """Every setting (of one verb), in order: key, default, allowed values, meaning."""
    sections = RunSettings.model_fields if verb is None else SECTIONS[verb]
    for name in sections:
        yield from _lines(name, RunSettings.model_fields[name])


def _lines(key: str, field: FieldInfo) -> Iterator[FieldLine]:
    if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
        for name, inner in field.annotation.model_fields.items():
            yield from _lines(f"{key}.{name}", inner)
        return
    default = "required" if field.is_required() else as_yaml(field.default)
    meaning = " ".join((field.description or "").split())
    yield FieldLine(key=key, default=default, allowed=_allowed(field), meaning=meaning)


def as_yaml(value: object) -> str:
    """A setting's value on one line, as one would write it in a file."""
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).split("\n")[0]


def _allowed(field: FieldInfo) -> str:
    return " ".join([_type_name(field.annotation), *_bounds(field)])


def _bounds(field: FieldInfo) -> list[str]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        plain, *rules = get_args(annotation)
        return " ".join(
            [_type_name(plain), *(bound for own in rules if isinstance(own, FieldInfo) for bound in _bounds(own))]
        )
    if get_origin(annotation) is Literal:
        return " | ".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_type_name(get_args(annotation)[0])}"
    if inner := get_args(annotation):
        return " | ".join(_type_name(part) for part in inner)
    return {int: "integer", float: "number", str: "text", bool: "true | false", Path: "path", type(None): "null"}[
        annotation
    ]


def known_keys() -> list[str]:
    """Every `key.path` that can be set."""
    return [line.key for line in describe_settings()]


def unknown_setting(key: str) -> SettingsError:
    """What to say of a setting that there is not, with the nearest that there is."""
    keys = known_keys()
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
    if not near:
        near = [known for known in keys if known.split(".")[-1] == key.split(".")[-1]]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if key.split(".")[-1] in ("key", "api_key", "token"):
        hint = "; an API key is read from the environment variable that teacher.key_env names, and from nowhere else"
    return SettingsError(
        f"setting {key!r}: found no such setting, expected one of those that `tinythinker settings` lists{hint}"
    )


def _check_keys(tree: Json, where: str) -> None:
    """Refuse unknown keys with the nearest known one, before pydantic sees them."""
    for key in _all_keys(tree):
        if not isinstance(key, str):
            raise SettingsError(expected(f"{where}, key", key, "the name of a setting"))
    if "task" in tree:
        raise SettingsError(
            expected(f"{where}, task", tree["task"], "no such key: the task is the command's first word")
        )
    keys = set(known_keys())
    sections = {key.split(".")[0] for key in keys if "." in key}
    for key, value in flatten(tree).items():
        if key in sections:
            raise SettingsError(expected(f"{where}, {key}", value, f"a group of settings, such as {key}.x=..."))
        if key not in keys:
            raise unknown_setting(key)


def _all_keys(tree: Mapping[Any, Any]) -> Iterator[object]:
    for key, value in tree.items():
        yield key
        if isinstance(value, Mapping):
            yield from _all_keys(value)


def parse_override(text: str) -> tuple[str, object]:
    """`reflect.rounds=3` as `("reflect.rounds", 3)`; the value is read as YAML.

    Raises:
        SettingsError: there is no `=`, or the value is not YAML.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise SettingsError(expected("setting", text, "key.path=value"))
    try:
        return key.strip(), _yaml(value)
    except (yaml.YAMLError, ValueError):
        return key.strip(), value


def _yaml(text: str) -> Any:
    """YAML 1.1 reads `1e-4` as text and `yes` as true; settings want the number and the word."""
    value = yaml.safe_load(text)
    if isinstance(value, date):  # a folder named like a day
        return text.strip()
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _nested(pairs: Sequence[tuple[str, object]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in pairs:
        here: dict[str, Any] = {}
        leaf = here
        *groups, name = key.split(".")
        for group in groups:
            leaf = leaf.setdefault(group, {})
        leaf[name] = value
        tree = _merge(tree, here)
    return tree


def _read_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{where}{line}: found malformed YAML, expected `key: value` lines") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(expected(where, tree, "a mapping of settings"))
    _check_keys(tree, where)
    return tree


def presets() -> list[str]:
    """Names of the tasks that have a preset."""
    folder = resources.files("tinythinker") / "settings" / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def preset(task: str) -> dict[str, Any]:
    """The preset of a task; empty for a file of one's own. Raises SettingsError for what is neither."""
    if task in presets():
        file = resources.files("tinythinker") / "settings" / "presets" / f"{task}.yaml"
        return _read_yaml(file.read_text(encoding="utf-8"), f"preset {task}")
    if Path(task).suffix.lower() in (".jsonl", ".csv"):
        return {}
    near = difflib.get_close_matches(task, presets(), n=1)
    wanted = f"one of {', '.join(presets())}, or a .jsonl or .csv file" + (
        f" (did you mean {near[0]!r}?)" if near else ""
    )
    raise SettingsError(expected("task", task, wanted))


def validate(tree: Mapping[str, Any]) -> RunSettings:
    """Check a tree of settings. Raises SettingsError in one line that names the key."""
    try:
        return RunSettings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A model's own check has no key of its own; its message names the keys.
        if first["type"] == "value_error":
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from None
        key = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        wanted = first["msg"].removeprefix("Input should be ")
        raise SettingsError(expected(f"setting {key}", first["input"], wanted)) from None


def override(settings: RunSettings, overrides: Sequence[str]) -> RunSettings:
    """Settings with `key.path=value` overrides on top. Raises SettingsError."""
    tree = _nested([parse_override(text) for text in overrides])
    _check_keys(tree, "settings")
    return validate(_merge(settings.plain(), tree))


def load_settings(task: str, overrides: Sequence[str] = (), config: Path | None = None) -> RunSettings:
    """Resolve the settings of a task: defaults < preset < config file < overrides. Raises SettingsError, DataError."""
    tree: dict[str, Any] = _merge({"task": task}, preset(task))
    if config is not None:
        tree = _merge(tree, _read_yaml(read_text(config), str(config)))
    return override(validate(tree), overrides)
