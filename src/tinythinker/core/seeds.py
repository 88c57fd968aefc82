"""Named random streams. Only this file may seed a generator.

Random numbers depend on a stream's name and never on how far a generator has run, so a resumed run, another
batch size or another order of questions draws the same numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(root: int, *path: str | int) -> int:
    """A seed for one named random stream, the same on every machine and Python version.

    `derive_seed(run_seed, "sample", question.id, k)` names the k-th chain of one question.

    Returns:
        An integer in [0, 2**63).
    """
    name = "\x1f".join(str(part) for part in (root, *path))
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stream(root: int, *path: str | int) -> np.random.Generator:
    """The generator of one named random stream."""
    return np.random.default_rng(derive_seed(root, *path))


def seed_torch(root: int, *path: str | int) -> None:
    """Seed torch's global generators (weight initialisation, dropout) with one named stream."""
    # Imported here because layers that must not load torch use this module.
    import torch

    torch.manual_seed(derive_seed(root, *path))
