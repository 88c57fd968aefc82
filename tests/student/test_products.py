from __future__ import annotations

from typing import Any

import pytest
import torch

from tinythinker.student import products
from tinythinker.student.products import fast_float32

MATMUL: Any = getattr(torch.backends.mkldnn, "matmul", None)
pytestmark = pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="torch cannot be told a precision")


def test_products_keep_every_digit_of_float32_and_the_precision_is_put_back() -> None:
    before = MATMUL.fp32_precision
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 300, generator=generator), torch.randn(300, 100, generator=generator)
    with pytest.raises(KeyboardInterrupt), fast_float32():
        made = a @ b
        raise KeyboardInterrupt
    torch.testing.assert_close(made.double(), a.double() @ b.double(), rtol=0, atol=1e-4)
    assert MATMUL.fp32_precision == before


def test_a_machine_that_would_round_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.Tensor.__matmul__

    def rounding(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        is_allowed = a.dtype == torch.float32 and MATMUL.fp32_precision == "bf16"
        return plain(a.bfloat16(), b.bfloat16()).float() if is_allowed else plain(a, b)

    assert products._is_exact() == (not torch.cpu.get_capabilities().get("amx_bf16"))
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    assert not products._is_exact()


@pytest.mark.parametrize(
    ("vendor", "capabilities", "is_told"),
    [
        ("AuthenticAMD", {"avx512_f": True}, True),
        ("GenuineIntel", {"avx512_f": True}, False),
        ("AuthenticAMD", {"avx512_f": True, "amx_bf16": True}, False),
        ("AuthenticAMD", {"avx2": True}, False),
    ],
)
def test_only_amds_with_avx512_and_without_amx_turn_to_onednn(
    vendor: str, capabilities: dict[str, bool], is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_vendor", lambda: vendor)
    monkeypatch.setattr(products, "_is_exact", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    products._pays.cache_clear()
    try:
        with fast_float32():
            assert (MATMUL.fp32_precision == "bf16") == is_told
    finally:
        products._pays.cache_clear()


def test_a_precision_of_ones_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_pays", lambda: True)
    before = MATMUL.fp32_precision
    MATMUL.fp32_precision = "tf32"
    try:
        with fast_float32():
            assert MATMUL.fp32_precision == "tf32"
    finally:
        MATMUL.fp32_precision = before
