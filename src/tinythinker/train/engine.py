"""How the processes of one training hold its weights: every one all of them (DDP), or every one a share (FSDP)."""

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
from tinythinker.core.errors import StudentError
from tinythinker.core.files import file_errors, whole_folder
from tinythinker.settings.schema import OptimSettings
from tinythinker.student.logps import Scorer
from tinythinker.student.student import Student, tensor_file_errors
from tinythinker.train.optim import build_optimizer

_SHARDS = "shards"


class Engine(Protocol):
    """A student in training. All processes make the same calls together."""

    model: Scorer
    """What computes log-probabilities with the weights that are trained."""
    optimizer: AcceleratedOptimizer
    scheduler: AcceleratedScheduler
    is_shared_out: bool
    """Has every process a share of the weights? Then all need as many passes in a step as the one with the most."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside, the student has all weights as they are now, to think with or to save."""

    def save(self, folder: Path, also: Callable[[Path], None]) -> None:
        """Write weights, optimizer and schedule, what a continuation needs, whole or not at all.

        Args:
            also: writes what else belongs there, in the first process, given where it is put together.
        """

    def load(self, folder: Path) -> None:
        """Go on from what `save` wrote.

        Raises:
            StudentError: it was written by the other engine.
            ValueError, OSError, RuntimeError: it is damaged.
        """


def build_engine(accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> Engine:
    """The engine that `shard` asks for; a single process has nobody to share with."""
    kind = Shards if settings.shard and ranks.count() > 1 else Replicas
    return kind(accelerator, student, settings, count_steps)


class Replicas:
    """Every process holds all weights, their gradients and the optimizer's state."""

    is_shared_out = False

    def __init__(self, accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> None:
        self._accelerator = accelerator
        model = Scorer(student.model)
        self.model, self.optimizer, self.scheduler = accelerator.prepare(
            model, *build_optimizer(model, settings, count_steps)
        )

    def whole(self) -> AbstractContextManager[None]:
        """The student's weights are those that are trained."""
        return nullcontext()

    def save(self, folder: Path, also: Callable[[Path], None]) -> None:
        """See `Engine.save`; the first process has it all."""

        def work() -> None:
            with whole_folder(folder) as temporary, tensor_file_errors(folder):
                self._accelerator.save_state(str(temporary))
                also(temporary)

        ranks.on_first(work)

    def load(self, folder: Path) -> None:
        """See `Engine.load`."""
        if (folder / _SHARDS).exists():
            raise StudentError(f"{folder}: found shards of several processes, expected whole weights; start several")
        self._accelerator.load_state(str(folder))


class Shards:
    """Every process holds a share of all; a layer's weights are gathered while it computes (FSDP2).

    What is trained is taken out of the student, which stays behind empty and is filled inside `whole`.
    """

    is_shared_out = True

    def __init__(self, accelerator: Accelerator, student: Student, settings: OptimSettings, count_steps: int) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # Meant for callers who change a layer's output in place, which none of the families does.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
        own = student.model
        self._student = student
        student.model = _emptied(own)
        self.model = Scorer(own)
        mesh = init_device_mesh(own.device.type, (ranks.count(),))
        layers = [module for module in own.modules() if isinstance(module, GradientCheckpointingLayer)]
        for layer in layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimizer, self.scheduler = accelerator.prepare(*build_optimizer(self.model, settings, count_steps))
        self._state()  # makes the optimizer's state of all weights, also of those that never get a gradient
        for state in self.optimizer.optimizer.state.values():
            state["step"].zero_()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """See `Engine.whole`."""
        pairs = list(zip(self._student.model.parameters(), self.model.parameters(), strict=True))
        for own, shard in pairs:
            own.data = whole_tensor(shard.detach())
        try:
            yield
        finally:
            for own, _ in pairs:
                own.data = own.data.new_empty(0)

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
        """See `Engine.load`; there may be another number of processes now."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict
        from torch.distributed.checkpoint.state_dict_loader import load

        if not (folder / _SHARDS).exists():
            raise StudentError(f"{folder}: found whole weights of one process, expected shards; start one")
        state = self._state()
        with _checkpoint_errors(folder):
            load(state, checkpoint_id=folder / _SHARDS)
        set_state_dict(
            self.model,
            self.optimizer.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(strict=False),
        )
        self.scheduler.load_state_dict(state["scheduler"])

    def _state(self) -> dict[str, Any]:
        """What a continuation needs; weights that adapters leave as they are do not change."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

        model, optimizer = get_state_dict(
            self.model, self.optimizer.optimizer, options=StateDictOptions(ignore_frozen_params=True)
        )
        return {"model": model, "optimizer": optimizer, "scheduler": self.scheduler.state_dict()}


@contextmanager
def _checkpoint_errors(folder: Path) -> Iterator[None]:
    """Turn what torch says of a checkpoint that cannot be written or read, which is no `Exception`, into OSError.

    Raises:
        StudentError: another process is gone.
        KeyboardInterrupt: somebody pressed Ctrl-C meanwhile.
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
        raise OSError(str([*found, error][0]).strip().split("\n")[0]) from None
    finally:
        logging.disable(before)


def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor of which every process may have a share."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else cast(Tensor, gather())


def _emptied(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model with weights of no size; buffers are copied."""
    empty = {
        id(own): torch.nn.Parameter(own.detach().new_empty(0), requires_grad=own.requires_grad)
        for own in model.parameters()
    }
    return copy.deepcopy(model, empty)
