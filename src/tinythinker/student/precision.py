"""Decoding in float32 or bfloat16."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

import torch
from transformers.models.t5.modeling_t5 import T5LayerNorm

from tinythinker.student.reading import reads_trees
from tinythinker.student.student import Student

# torch, and oneDNN below it, keep a kernel for every shape of product in bfloat16: 1,024 each, of half a megabyte.
# Decoding makes new shapes all the time; a pass needs a few dozen. Both read these at their first product.
for _kept in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    os.environ.setdefault(_kept, "64")


def decoding(student: Student, *, is_sampled: bool) -> Student:
    """The student to decode with, chosen by `generate.bf16`: itself, or a temporary copy in bfloat16.

    Args:
        is_sampled: are any texts sampled, or is all decoding greedy?
    """
    how = student.recipe.generate.bf16
    if how == "never" or (how == "auto" and not (is_sampled and pays(student))):
        return student
    # Weights are copied straight to bfloat16, so there is never a second copy in float32. Buffers keep their
    # precision, which rotary frequencies and the like need.
    halves = {
        id(weight): torch.nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)
        for weight in student.model.parameters()
    }
    model = copy.deepcopy(student.model, halves)
    _fuse_norms(model)
    halved = Student(model, student.tokenizer, student.recipe)
    halved.can_read_trees = reads_trees(student)  # rounding would fail the trial
    return halved


def _fuse_norms(model: torch.nn.Module) -> None:
    """Replace T5's normalisation, written as eight operations, by torch's, which is one."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, T5LayerNorm):
                fused = torch.nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                fused.weight = child.weight
                setattr(parent, name, fused)


def pays(student: Student) -> bool:
    """Does the student's device multiply bfloat16 in hardware?"""
    if student.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, bool | int | str] = getattr(torch.cpu, "get_capabilities", dict)()
    return multiplies_bfloat16(capabilities)


def multiplies_bfloat16(capabilities: Mapping[str, bool | int | str]) -> bool:
    """Does a CPU multiply bfloat16 in hardware? Others emulate it, which is many times slower than float32.

    Args:
        capabilities: what torch says the CPU has, such as `{"avx512_bf16": True}`.
    """
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
