"""Distil a teacher's reasoning into a small language model, coarse to fine. See `tinythinker.api`."""
