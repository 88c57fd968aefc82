"""Optimizer and learning-rate schedule of both phases."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup

from tinythinker.settings.schema import OptimSettings


def build_optimizer(
    model: torch.nn.Module, settings: OptimSettings, count_steps: int
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW and its learning rate: linear warm-up, then a cosine down to zero, over `count_steps` steps."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    warmup = round(settings.warmup * count_steps)
    return optimizer, get_cosine_schedule_with_warmup(optimizer, warmup, count_steps)
