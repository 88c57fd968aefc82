"""How the processes of a training hold the weights: each holds all of them (DDP) or a share (FSDP)."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.scheduler import AcceleratedScheduler
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from tinythinker.core import ranks
from tinythinker.core.errors import StudentError, first_line
from tinythinker.core.files import file_errors, whole_folder
from tinythinker.settings.schema import OptimSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student, tensor_file_errors
from tinythinker.train.optim import build_optimizer

_SHARDS = "shards"


class Engine(Protocol):
    """A student in training. All processes make the same calls together."""

    model: Scorer
    """Computes log-probabilities with the weights being trained."""
    optimizer: AcceleratedOptimizer
    scheduler: AcceleratedScheduler
    is_shared_out: bool
    """Does each process hold a share of the weights? Then all make as many passes per step as the busiest."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside this context the student holds all current weights, so it can generate or be saved."""

    def save(self, folder: Path, also: Callable[[Path], None]) -> None:
        """Write everything needed to resume (weights, optimizer, schedule), all or nothing.

        Args:
            also: writes other files of the checkpoint; the first process calls it with the temporary folder.
        """

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote.

        Raises:
            StudentError: it was written by the other engine.
            ValueError, OSError, RuntimeError, UnpicklingError: it is damaged, or not only weights and numbers.
        """


def build_engine(accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> Engine:
    """The engine that the setting `shard` selects; a single process always holds all weights."""
    kind = Shards if settings.shard and ranks.count() > 1 else Replicas
    return kind(accelerator, student, settings, count_steps)


class Replicas:
    """Every process holds all weights, their gradients and the whole optimizer state."""

    is_shared_out = False

    def __init__(self, accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> None:
        self._accelerator = accelerator
        model = Scorer(student.model)
        self.model, self.optimizer, self.scheduler = accelerator.prepare(
            model, *build_optimizer(model, settings, count_steps)
        )

    def whole(self) -> AbstractContextManager[None]:
        """See `Engine.whole`; nothing to do, since the student's own weights are being trained."""
        return nullcontext()

    def save(self, folder: Path, also: Callable[[Path], None]) -> None:
        """See `Engine.save`; the first process writes everything."""

        def work() -> None:
            with whole_folder(folder) as temporary, tensor_file_errors(folder):
                self._accelerator.save_state(str(temporary))
                also(temporary)

        ranks.on_first(work)

    def load(self, folder: Path) -> None:
        """See `Engine.load`."""
        if (folder / _SHARDS).exists():
            raise StudentError(f"{folder}: found shards of several processes, expected whole weights; start several")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)  # said of what is then refused
            self._accelerator.load_state(str(folder))


class Shards:
    """Every process holds a share of everything; a layer's weights are gathered while it computes (FSDP2).

    Training takes the model out of the student and leaves an empty copy there, which `whole` fills.
    """

    is_shared_out = True

    def __init__(self, accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # The warning is for models that change a layer's output in place, which none of our families does.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
        model = student.model
        self._student = student
        student.model = _emptied(model)
        self.model = Scorer(model)
        mesh = init_device_mesh(model.device.type, (ranks.count(),))
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimizer, self.scheduler = accelerator.prepare(*build_optimizer(self.model, settings, count_steps))
        self._state()  # creates optimizer state for all weights, even those that never get a gradient
        for state in self.optimizer.optimizer.state.values():
            state["step"].zero_()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """See `Engine.whole`."""
        pairs = list(zip(self._student.model.parameters(), self.model.parameters(), strict=True))
        for weight, shard in pairs:
            weight.data = whole_tensor(shard.detach())
        try:
            yield
        finally:
            for weight, _ in pairs:
                weight.data = weight.data.new_empty(0)

    def save(self, folder: Path, also: Callable[[Path], None]) -> None:
        """See `Engine.save`; every process writes its share."""
        from torch.distributed.checkpoint.state_dict_saver import save

        def finish() -> None:
            with file_errors(folder):
                also(temporary)

        stack = ExitStack()
        temporary = ranks.on_first(lambda: stack.enter_context(whole_folder(folder)))
        with file_errors(folder), stack, _checkpoint_errors(folder):
            save(self._state(), checkpoint_id=temporary / _SHARDS)
            ranks.on_first(finish)

    def load(self, folder: Path) -> None:
        """See `Engine.load`; the number of processes may have changed."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict
        from torch.distributed.checkpoint.state_dict_loader import load

        from tinythinker.train.shard_files import PlainPlanner, PlainReader

        if not (folder / _SHARDS).exists():
            raise StudentError(f"{folder}: found whole weights of one process, expected shards; start one")
        state = self._state()
        with _checkpoint_errors(folder):
            load(state, storage_reader=PlainReader(folder / _SHARDS), planner=PlainPlanner())
        set_state_dict(
            self.model,
            self.optimizer.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(strict=False),
        )
        self.scheduler.load_state_dict(state["scheduler"])

    def _state(self) -> dict[str, Any]:
        """Everything needed to resume; frozen weights are left out, because they do not change."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        model, optimizer = get_state_dict(
            self.model, self.optimizer.optimizer, options=StateDictOptions(ignore_frozen_params=True)
        )
        return {"model": model, "optimizer": optimizer, "scheduler": self.scheduler.state_dict()}


@contextmanager
def _checkpoint_errors(folder: Path) -> Iterator[None]:
    """Turn torch's checkpoint errors, which do not derive from `Exception`, into OSError.

    Raises:
        StudentError: another process has died.
        KeyboardInterrupt: the user pressed Ctrl-C meanwhile.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # torch would write tracebacks to the root logger
    try:
        with ranks.lost_processes():
            yield
    except CheckpointException as error:
        found = [failure for failure, _ in error.failures.values()]
        if any(isinstance(failure, KeyboardInterrupt) for failure in found):
            raise KeyboardInterrupt from None
        raise OSError(first_line([*found, error][0])) from None
    finally:
        logging.disable(before)


def whole_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor, gathered if each process holds only a share of it."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else cast(Tensor, gather())


def _emptied(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model with empty weights; buffers are copied."""
    empty = {
        id(weight): torch.nn.Parameter(weight.detach().new_empty(0), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, empty)
