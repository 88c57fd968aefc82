"""Reading a checkpoint's shards without running what a pickle may hold. Loaded only when shards are read."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

_INDEX = ".metadata"
_CLASSES = frozenset(
    {
        *((metadata.__name__, name) for name in (*metadata.__all__, "_MEM_FORMAT_ENCODING")),
        *(("pathlib", name) for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
        (filesystem.__name__, "_StorageInfo"),
        ("torch", "Size"),
        ("torch.serialization", "_get_layout"),
        ("collections", "OrderedDict"),
    }
)
"""All that torch's index of shards is made of, besides plain values and the types of numbers."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """See `pickle.Unpickler.find_class`. Raises UnpicklingError for everything that no index holds."""
        is_number_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) in _CLASSES or is_number_type:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a pickle that holds {module}.{name}; it was not run")


class PlainReader(FileSystemReader):
    """Reads shards whose index is a pickle of torch's own classes and nothing else."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """See `StorageReader.read_metadata`. Raises UnpicklingError."""
        index: Metadata = _Unpickler(io.BytesIO((Path(self.path) / _INDEX).read_bytes())).load()
        if index.storage_meta is None:
            index.storage_meta = StorageMeta()
        index.storage_meta.load_id = self.load_id
        return index


class PlainPlanner(DefaultLoadPlanner):
    """Takes only plain values and tensors out of shards."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """See `LoadPlanner.load_bytes`. Raises UnpicklingError."""
        torch.load(value, weights_only=True)  # refuses anything else; torch itself would run it
        value.seek(0)
        super().load_bytes(read_item, value)
