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
    model = copy.deepcopy(student.model)
    # Buffers stay: rotary frequencies and the like need their precision.
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(torch.bfloat16)
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
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
