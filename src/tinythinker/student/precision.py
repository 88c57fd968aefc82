"""float32 or bfloat16 while decoding."""

from __future__ import annotations

import copy

import torch
from transformers.models.t5.modeling_t5 import T5LayerNorm

from tinythinker.student.student import Student


def decoding(student: Student, *, is_sampled: bool) -> Student:
    """The student to decode with, as `generate.bf16` has it: itself, or a copy in bfloat16 for the time being.

    Args:
        is_sampled: are texts drawn, or all greedy?
    """
    how = student.recipe.generate.bf16
    if how == "never" or (how == "auto" and not (is_sampled and _pays(student))):
        return student
    # Copied as bfloat16 at once, so that no second copy in float32 is ever held. Buffers stay as they are: rotary
    # frequencies and the like need their precision.
    halves = {
        id(own): torch.nn.Parameter(own.detach().to(torch.bfloat16), requires_grad=False)
        for own in student.model.parameters()
    }
    model = copy.deepcopy(student.model, halves)
    _fuse_norms(model)
    return Student(model, student.tokenizer, student.recipe)


def _fuse_norms(model: torch.nn.Module) -> None:
    """T5 writes its normalisation out in eight operations; torch has the same as one."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, T5LayerNorm):
                fused = torch.nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                fused.weight = child.weight
                setattr(parent, name, fused)


def _pays(student: Student) -> bool:
    if student.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
