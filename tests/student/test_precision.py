from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.conftest import tiny_of
from tinythinker.generate.decode import Sampling, decode
from tinythinker.student.precision import decoding, multiplies_bfloat16
from tinythinker.student.student import Student


def told(student: Student, bf16: str) -> Student:
    generate = student.recipe.generate.model_copy(update={"bf16": bf16})
    return Student(student.model, student.tokenizer, student.recipe.model_copy(update={"generate": generate}))


@pytest.mark.parametrize("architecture", ["t5", "qwen3", "gpt2"])
def test_bfloat16_decodes_with_a_copy_and_leaves_the_student_as_it_is(architecture: str) -> None:
    student = told(tiny_of(architecture), "always")
    other = decoding(student, is_sampled=False)
    assert {p.dtype for p in other.model.parameters()} == {torch.bfloat16}
    assert other.can_read_trees == (architecture != "t5")  # rounding does not decide it
    assert {p.dtype for p in student.model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in student.model.parameters())
    assert {b.dtype for b in other.model.buffers() if b.is_floating_point()} <= {torch.float32}
    for sampling in (None, Sampling(1.0, [1, 2])):
        assert len(decode(other, ["rain", "wet"], max_tokens=4, batch_size=2, sampling=sampling)) == 2
    assert decoding(told(student, "never"), is_sampled=True).model is student.model


def test_bf16_auto_uses_bfloat16_only_for_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    student = told(tiny_of("t5"), "auto")
    for name in ("amx_bf16", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {name: True})
        assert decoding(student, is_sampled=False).model is student.model
        assert decoding(student, is_sampled=True).model.dtype == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    assert decoding(student, is_sampled=True).model is student.model


@pytest.mark.parametrize(
    ("cpu", "flags", "is_in_hardware"),
    [
        ("Intel Haswell", "avx2 fma3 f16c", False),
        ("Intel Skylake server", "avx2 avx512_f avx512_bw avx512_dq avx512_vl", False),
        ("Intel Cascade Lake", "avx2 avx512_f avx512_bw avx512_dq avx512_vl avx512_vnni", False),
        ("Intel Sapphire Rapids", "avx2 avx512_f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16", True),
        ("AMD Zen 5", "avx2 avx512_f avx512_vnni avx512_bf16 avx_vnni", True),
    ],
)
def test_bf16_auto_takes_only_cpus_that_multiply_it_in_hardware(cpu: str, flags: str, is_in_hardware: bool) -> None:
    known = dict.fromkeys(("avx512_bf16", "amx_bf16", "avx512_fp16"), False)
    assert multiplies_bfloat16(known | dict.fromkeys(flags.split(), True) | {"cpu_name": cpu}) is is_in_hardware


_MANY_SHAPES = """
import resource, torch
import tinythinker.student.precision

def multiply(first, last):
    for rows in range(first, last):
        torch.nn.functional.linear(torch.randn(rows, 128).bfloat16(), weight)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

weight = torch.randn(384, 128).bfloat16()
few = multiply(1, 65)
print(multiply(65, 1_000) - few)
"""


def test_products_of_ever_new_shapes_keep_no_more_memory() -> None:
    # Without a limit, a CPU with bfloat16 in hardware keeps 600 MB of kernels.
    done = subprocess.run([sys.executable, "-c", _MANY_SHAPES], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150
