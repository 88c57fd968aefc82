"""The student: a Hugging Face model of either family, its tokenizer, and how it was taught to reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from tinythinker.core.files import whole_folder, write_record
from tinythinker.core.records import Record
from tinythinker.core.seeds import derive_seed
from tinythinker.settings.schema import GenerateSettings, LoraSettings, Normalize, StageSettings
from tinythinker.stages.plan import answering_plan
from tinythinker.stages.template import Template
from tinythinker.student.adapters import add_adapters
from tinythinker.student.flops import weights_by_side
from tinythinker.student.present import RECIPE_FILE


@contextmanager
def quiet_library() -> Iterator[None]:
    """Silence the library's progress bars and advice, which would drown out our own output."""
    verbosity, has_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bar:
            transformers_logging.enable_progress_bar()


@contextmanager
def tensor_file_errors(path: Path) -> Iterator[None]:
    """Turn write errors of the tensor libraries (mostly a full disk) into OSError, as for any other file."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        said = str(error).strip().split("\n")[0]
        if "inline_container" in said:  # torch gives the line of its source, and no reason
            said = "torch could not write the file to its end; is the disk full?"
        raise OSError(None, said) from None


class Recipe(Record):
    """How a student was taught; saved with its weights, so that it can be prompted in the same words."""

    stages: StageSettings
    generate: GenerateSettings
    max_prompt_tokens: int | None
    """None: as many as the model can read."""
    max_target_tokens: int
    chat_template: bool = False
    """Are prompts written as the user's turn in the tokenizer's chat template? Causal students only."""
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    is_trained: bool = True
    """False: a plain pretrained model, which has learned none of this."""

    @property
    def normalize(self) -> Normalize:
        """How options of different lengths are compared; see `generate.normalize`."""
        return self.template.normalize(self.generate.normalize)

    @property
    def most_written(self) -> int:
        """Most tokens of any text that the student writes."""
        how = self.generate
        limits = how.max_recall_tokens, how.max_analysis_tokens, how.max_conclusion_tokens
        return max(self.max_target_tokens, *limits)

    @property
    def template(self) -> Template:
        """The prompt template that the student was taught with."""
        return Template.of(self.stages)


class Student:
    """A model with its tokenizer and recipe."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.weights = weights_by_side(model)
        """Counted at once, because a training may share them out to several processes."""
        self.can_read_trees: bool | None = None
        """See `reading.reads_trees`; None: not tried yet."""

    @property
    def is_causal(self) -> bool:
        """Is it a decoder-only model (GPT-2, Llama, Qwen) rather than an encoder-decoder (T5)?"""
        return not self.model.config.is_encoder_decoder

    @property
    def pad_id(self) -> int:
        """The token that pads rows; padding is always masked."""
        return int(self.tokenizer.pad_token_id or 0)

    @property
    def positions(self) -> int | None:
        """Tokens that the model has positions for; None if any number will do (T5)."""
        found: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return found

    @property
    def most_prompt_tokens(self) -> int | None:
        """Tokens of the longest prompt that the student reads whole; None if there is no limit.

        A causal student's prompt shares the positions with what it writes.
        """
        own = self.positions
        if own is not None and self.is_causal:
            own -= self.recipe.most_written
        limits = [limit for limit in (self.recipe.max_prompt_tokens, own) if limit is not None]
        return min(limits, default=None)

    @property
    def end_ids(self) -> list[int]:
        """Tokens that end a text: the tokenizer's, and those of the model's generation settings (Llama 3, Gemma)."""
        found = getattr(self.model.generation_config, "eos_token_id", None)
        others = found if isinstance(found, list) else [] if found is None else [found]
        return list(dict.fromkeys([int(self.tokenizer.eos_token_id), *others]))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    def answering_with(self, plan: str | None) -> Student:
        """The same model answering with some of its stages (`evaluate.plan`); None: all. Raises SettingsError."""
        stages = self.recipe.stages
        own = stages.model_copy(update={"plan": answering_plan(stages.plan, plan)})
        other = Student(self.model, self.tokenizer, self.recipe.model_copy(update={"stages": own}))
        other.can_read_trees = self.can_read_trees
        return other

    def count_parameters(self) -> int:
        """Number of weights; shared weights count once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def adapt(self, seed: int, training: str) -> None:
        """Add adapters if the recipe has them and the model does not have any yet. Raises StudentError.

        Args:
            training: name of the training, such as `round-1`; every training draws fresh adapters.
        """
        if self.recipe.lora is not None:
            self.model = add_adapters(self.model, self.recipe.lora, derive_seed(seed, training))

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder (only adapters, if any), all or nothing. Raises DataError."""
        with whole_folder(folder) as temporary, tensor_file_errors(folder), quiet_library():
            _name_the_rotation(self.model)
            self.model.save_pretrained(temporary)
            self.tokenizer.save_pretrained(temporary)
            write_record(temporary / RECIPE_FILE, self.recipe)


def _name_the_rotation(model: PreTrainedModel) -> None:
    """Let the configuration say the bases of the rotary positions under their older names, too.

    transformers 4 and what is built on it read `rope_theta` (and Gemma's `rope_local_base_freq`) alone, and take a
    default without a word where it is missing.
    """
    rotation = getattr(model.config, "rope_parameters", None) or {}
    by_name = {
        "rope_theta": rotation.get("full_attention", rotation),
        "rope_local_base_freq": rotation.get("sliding_attention", {}),
    }
    for name, own in by_name.items():
        if isinstance(own, dict) and own.get("rope_theta") is not None:
            setattr(model.config, name, own["rope_theta"])
