"""The layers of docs/ARCHITECTURE.md, enforced: imports point left, and unstarred layers never load torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tinythinker"
LAYERS = (
    "core config tasks teacher stages student* train* generate* ask* preferences reflect* evaluate answer* probe* "
    "report teach api* study* quickstart* benchmarks* cli __main__"
).split()
NAMES = [layer.rstrip("*") for layer in LAYERS]
TORCH_FREE = [layer for layer in LAYERS if not layer.endswith("*") and layer != "__main__"]
HEAVY = {"torch", "transformers", "accelerate", "tokenizers"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            is_package = node.module == "tinythinker"
            yield from (f"tinythinker.{alias.name}" for alias in node.names) if is_package else (node.module,)


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer for layer, _ in modules()} == set(NAMES)


def test_a_module_imports_only_from_its_own_layer_and_those_to_its_left() -> None:
    for layer, path in modules():
        for name in imports(path):
            if name.startswith("tinythinker."):
                other = name.split(".")[1]
                assert NAMES.index(other) <= NAMES.index(layer), f"{path} imports {name}"


def test_an_unstarred_layer_imports_no_heavy_library_at_module_level() -> None:
    for layer, path in modules():
        if layer in TORCH_FREE:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            top = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
            names += [str(node.module) for node in top if isinstance(node, ast.ImportFrom)]
            assert not HEAVY & {name.split(".")[0] for name in names}, path


def test_importing_every_unstarred_layer_loads_no_torch() -> None:
    wanted = [
        ".".join(("tinythinker", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for layer, path in modules()
        if layer in TORCH_FREE
    ]
    code = f"import sys, {', '.join(wanted)}; print(sorted({HEAVY!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("word", ["random.seed", "manual_seed", "default_rng", "set_seed"])
def test_only_the_seeds_module_seeds_a_generator(word: str) -> None:
    for _, path in modules():
        if path != SOURCE / "core" / "seeds.py":
            assert f"{word}(" not in path.read_text(encoding="utf-8"), path
