"""The rules of docs/ARCHITECTURE.md: where things lie, what may import what, how large a function grows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tinythinker"
ROOMS = (
    "core settings tasks stages teacher student generate train acquire reflect evaluate report use publish serve "
    "session study bench quickstart api cli __main__"
).split()
"""From left to right: a module imports only from its own room and those to its left."""
LOOSE = {"session", "quickstart", "api", "__main__"}
"""The only modules outside a room."""
NEEDS_TORCH = {
    *(
        f"student.{name}"
        for name in "adapters encode flops load logps make pieces precision reading scratch student".split()
    ),
    *(
        f"generate.{name}"
        for name in "attention cache choose decode endings label_logps memory state think writer".split()
    ),
    *(f"train.{name}" for name in "engine loop mixed_precision optim shard_files".split()),
    *("acquire.phase_1", "acquire.sft"),
    *(f"reflect.{name}" for name in "losses objective reference rounds sample".split()),
    *(f"evaluate.{name}" for name in "probe untrained verdicts".split()),
    "use.student_model",
    "use.answering",
    "study.cells",
    *(f"bench.{name}" for name in "baseline bench counting machine needed workload".split()),
}
"""Every other module loads no torch, so that `--help`, `settings`, `teach` and `report` answer at once."""
HEAVY = {"torch", "transformers", "accelerate", "tokenizers"}
MOST_LINES = 60
"""Of a function."""
UNTYPED = {
    "core.names.Names.__get_pydantic_core_schema__": "the signature that pydantic calls",
    "cli.shared.Commands.main": "the signature of the library that it overrides",
    "student.adapters.require_peft": "returns a library without types",
    "settings.describe.flatten": "takes settings before they are checked",
    "bench.counting.counted": "hooks of torch, which passes anything",
}
"""Public functions with `Any` or `object` values in their signature, and why."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module by its name within the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name != "__init__.py":
            yield ".".join(path.relative_to(SOURCE).with_suffix("").parts), path


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Modules of the package that a file imports."""
    names = dict(modules())
    found = set()
    for name in imports(path):
        parts = name.split(".")[1:] if name.startswith("tinythinker.") else []
        found |= {".".join(parts[:n]) for n in (len(parts), len(parts) - 1) if ".".join(parts[:n]) in names}
    return found


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function and method of a file by its dotted name."""

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield ".".join((*names, child.name)), child
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, (*names, child.name))
            else:
                yield from walk(child, names)

    yield from walk(parsed(path), ())


def test_every_module_lies_in_a_room() -> None:
    assert {name.split(".")[0] for name, _ in modules()} == set(ROOMS)
    assert {name for name, _ in modules() if "." not in name} == LOOSE


def test_a_module_imports_only_from_its_own_room_and_those_to_its_left() -> None:
    for name, path in modules():
        for other in own_imports(path):
            room, other_room = (ROOMS.index(one.split(".")[0]) for one in (name, other))
            assert other_room <= room, f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: own_imports(path) - {name} for name, path in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_importing_the_package_changes_nothing_in_the_libraries_it_uses() -> None:
    names = [name for name, _ in modules() if name != "__main__"]
    script = (
        "import importlib, logging, os, warnings, matplotlib, transformers, accelerate, torch\n"
        "from transformers import AttentionInterface\n"
        "def state():\n"
        "    loggers = {name: logging.getLogger(name).level for name in ('transformers', 'accelerate', 'openai', '')}\n"
        "    return (loggers, dict(os.environ), sorted(AttentionInterface().keys()), dict(matplotlib.rcParams),\n"
        "            torch.get_num_threads(), torch.is_grad_enabled(), warnings.filters[:])\n"
        "import matplotlib.figure\n"
        "before = state()\n"
        f"for name in {names}: importlib.import_module('tinythinker.' + name)\n"
        "after = state()\n"
        "print([one for one in zip(before, after) if one[0] != one[1]])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_every_module_that_needs_no_torch_loads_none() -> None:
    names = [name for name, _ in modules()]
    assert set(names) >= NEEDS_TORCH
    free = [f"tinythinker.{name}" for name in names if name not in NEEDS_TORCH and name != "__main__"]
    code = f"import sys, {', '.join(free)}; print(sorted({HEAVY!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("word", ["random.seed", "manual_seed", "default_rng", "set_seed"])
def test_only_the_seeds_module_seeds_a_generator(word: str) -> None:
    for _, path in modules():
        if path != SOURCE / "core" / "seeds.py":
            assert f"{word}(" not in path.read_text(encoding="utf-8"), path


def test_no_function_is_longer_than_a_screen() -> None:
    for name, path in modules():
        for function, node in functions(path):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_LINES, f"{name}.{function} has {lines} lines"


def test_no_two_files_and_no_two_public_classes_share_a_name() -> None:
    files = Counter(path.name for _, path in modules())
    classes = Counter(
        node.name
        for _, path in modules()
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in (files + classes).items() if count > 1] == []


def test_no_untyped_value_crosses_a_module_boundary() -> None:
    for name, path in modules():
        for function, node in functions(path):
            is_public = not any(part.startswith("_") and not part.startswith("__") for part in function.split("."))
            if not is_public or f"{name}.{function}" in UNTYPED or f"{name}.{function}".rpartition(".")[0] in UNTYPED:
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            hints = [one.annotation for one in arguments] + [node.returns]
            said = " ".join(ast.unparse(hint) for hint in hints if hint is not None)
            words = ("Any", "dict[str, object]", "Mapping[str, object]")
            assert not any(word in said.replace("AnyStr", "") for word in words), f"{name}.{function}: {said}"


def test_paths_inside_a_run_are_built_in_the_run_directory_alone() -> None:
    files = "manifest.json metrics.jsonl pairs.jsonl chains.jsonl counts.json data.json quality.json".split()
    for name, path in modules():
        if name != "core.run":
            for node in ast.walk(parsed(path)):
                if (
                    isinstance(node, ast.BinOp)
                    and isinstance(node.op, ast.Div)
                    and isinstance(node.right, ast.Constant)
                ):
                    assert node.right.value not in files, f"{name}: / {node.right.value!r}"
