"""The rules that keep the tree a table of contents: rows, one printer, one renderer, sizes.

Every exception is listed below with its date and its reason. The list should be short.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "regimen"

ROWS = (
    (
        *("errors", "records", "protocols", "settings", "runs", "console", "tables"),
        *("files", "layout", "manifests", "processes", "table_files", "record_columns"),
    ),
    ("instances",),
    ("judging",),
    ("curation",),
    ("tokens",),
    ("models",),
    ("generation",),
    ("adapters",),
    ("memory",),
    ("objectives",),
    ("training",),
    ("alignment",),
    ("evaluation",),
)
LEAVES = ("studies", "planning", "verifying", "reports", "serving", "feedback", "stages", "assets")
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
LEAF_IMPORTS = {"stages": {"assets", "reports", "planning", "verifying", "studies"}}
"""Leaves that a leaf may import: the stages compose the others."""

NO_TORCH = (
    *(("instances",), ("judging",), ("curation",), ("reports",), ("evaluation.statistics",)),
    ROWS[0],
)
ONLY_TORCH = {"tokens", "models", "generation", "adapters", "memory", "objectives", "training"} | {
    "alignment"
}
"""Rows 4 to 10 and alignment run where neither pydantic nor the settings are."""

CORE = {"torch", "transformers", "peft", "pyarrow"} | {"numpy", "safetensors", "tokenizers"}
"""What these rows may import where they are imported: four libraries and what these need."""

MOST_LINES, MOST_FUNCTION_LINES = 400, 80

# (rule, where): "date: reason"
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("except", "stages.guarded"): "2026-11-29: a function of the user's may raise an error of its "
    "own kind; it is told, counted, and its process goes on",
    (
        "except",
        "stages.user_code",
    ): "2026-11-29: a file of the user's may raise anything when it is "
    "run; it is an error of the settings",
    ("except", "stages.tracking"): "2026-11-25: a tracker is somebody else's code on somebody "
    "else's server, may raise anything, and must not stop a training",
    ("core", "models.int8"): "2026-11-29: a layer of bitsandbytes, imported where a base has such",
    ("core", "models.triton.rows"): "2026-11-29: imported where Triton is, on a CUDA device",
    ("core", "generation.endpoints.client"): "2026-11-29: for models behind a network alone",
    ("chat_template", "settings.lm_eval"): "2026-11-28: a setting has the name that lm-eval gives "
    "it, and says whether prompts go through the renderer",
    ("chat_template", "stages.evaluate_lm_eval"): "2026-11-28: reads that setting",
}


@dataclass(frozen=True, slots=True)
class Module:
    """A source file: its dotted name without ``regimen.``, its text, its tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The first part of the name: the row's or leaf's."""
        return self.name.split(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(name or "__init__", path, text, ast.parse(text)))
    return tuple(found)


@cache
def _nodes(name: str) -> tuple[ast.AST, ...]:
    (module,) = (one for one in modules() if one.name == name)
    return tuple(ast.walk(module.tree))


def nodes(module: Module) -> tuple[ast.AST, ...]:
    """Every node of the module's tree, walked once."""
    return _nodes(module.name)


def imports(module: Module, *, late: bool = True) -> tuple[tuple[str, int], ...]:
    """Absolute names of what a module imports, with lines; ``late`` includes functions' imports."""
    return _imports(module.name, late)


@cache
def _imports(name: str, late: bool) -> tuple[tuple[str, int], ...]:
    (module,) = (one for one in modules() if one.name == name)
    return tuple(_imported(module, late))


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from outside_functions(node)


def _imported(module: Module, late: bool) -> Iterator[tuple[str, int]]:
    package = module.path.relative_to(SOURCE.parent).parent.parts
    for node in nodes(module) if late else outside_functions(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in (
            getattr(node.func, "attr", ""),
            getattr(node.func, "id", ""),
        ):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno


def part_of(imported: str) -> str | None:
    """The row's or leaf's name of an import of ours."""
    parts = imported.split(".")
    if parts[0] != "regimen":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def violations(rule: str, found: Iterator[tuple[str, str]]) -> list[str]:
    """What breaks a rule, without the listed exceptions; each is ``place: what``."""
    return [f"{where}: {what}" for where, what in found if (rule, where) not in EXCEPTIONS]


def may_import(part: str, other: str) -> bool:
    """Whether a module of ``part`` may import one of ``other``."""
    if part == "cli" or part == other or other in ("__init__", "__version__"):
        return True
    if part in LEAVES:
        return other in ROW or other in LEAF_IMPORTS.get(part, set())
    if part == "__init__":
        return False
    return other in ROW and ROW[other] <= ROW[part]


def test_every_module_has_its_place() -> None:
    places = {*ROW, *LEAVES, "cli", "__init__", "__main__"}
    assert {module.part for module in modules()} <= places


def test_a_module_imports_from_its_own_or_an_earlier_row_only() -> None:
    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            for imported, line in imports(module):
                other = part_of(imported)
                if other is not None and not may_import(module.part, other):
                    yield f"{module.name}", f"line {line} imports {imported}"

    assert violations("rows", found()) == []


@pytest.mark.parametrize(
    ("part", "other", "allowed"),
    [
        ("training", "objectives", True),
        ("objectives", "training", False),
        ("runs", "settings", True),
        ("records", "instances", False),
        ("reports", "evaluation", True),
        ("evaluation", "reports", False),
        ("reports", "stages", False),
        ("stages", "reports", True),
        ("stages", "cli", False),
        ("instances", "assets", False),
        ("cli", "stages", True),
        ("errors", "cli", False),
    ],
)
def test_the_rule_itself(part: str, other: str, allowed: bool) -> None:
    assert may_import(part, other) is allowed


def test_training_rows_reach_neither_pydantic_nor_settings() -> None:
    by_name = {module.name: module for module in modules()}

    def reached(name: str) -> set[str]:
        seen, todo = set(), [name]
        while todo:
            module = by_name.get(todo.pop())
            for imported, _ in imports(module, late=False) if module else ():
                ours = imported.removeprefix("regimen.")
                for candidate in (ours, ours.rpartition(".")[0]):
                    if candidate in by_name and candidate not in seen:
                        seen.add(candidate)
                        todo.append(candidate)
                if imported.partition(".")[0] == "pydantic":
                    seen.add("pydantic")
        return seen

    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            if module.part not in ONLY_TORCH:
                continue
            for name in reached(module.name):
                if name == "pydantic" or re.match(r"settings\.(?!yaml12|places)", name):
                    yield module.name, f"reaches {name}"

    assert violations("pydantic", found()) == []


def test_training_rows_import_four_libraries_and_what_these_need() -> None:
    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            if module.part not in ONLY_TORCH:
                continue
            for imported, line in imports(module, late=False):
                name = imported.partition(".")[0]
                if name not in CORE | {"regimen"} | sys.stdlib_module_names:
                    yield module.name, f"line {line} imports {imported}"

    assert violations("core", found()) == []


def test_data_statistics_and_reports_load_no_torch() -> None:
    lines = []
    for part in (part for parts in NO_TORCH for part in parts):
        names = [m.name for m in modules() if f"{m.name}.".startswith(f"{part}.")]
        assert names, part
        lines += [f"import regimen.{name}" for name in names]
    # One interpreter for all: the first import that loads one of them is the one to blame.
    heavy = "[n for n in ('torch', 'transformers') if n in sys.modules]"
    checked = [f"{line}; assert not {heavy}, {line!r}" for line in lines]
    assert loaded(checked, ["torch", "transformers"]) == []


def test_help_loads_no_torch_no_transformers_no_pyarrow() -> None:
    lines = [
        "from contextlib import redirect_stdout, suppress",
        "from io import StringIO",
        "from regimen.cli import main",
        "sys.argv = ['regimen', '--help']",
        "text = StringIO()",
        "with redirect_stdout(text), suppress(SystemExit): main()",
        "assert 'tune' in text.getvalue()",
    ]
    assert loaded(lines, ["torch", "transformers", "pyarrow"]) == []


def loaded(lines: list[str], names: list[str]) -> list[str]:
    """Which of the names a fresh interpreter has loaded after running the lines."""
    script = "\n".join(
        [
            "import json, sys",
            *lines,
            f"print(json.dumps([n for n in {names!r} if n in sys.modules]))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def calls(module: Module) -> Iterator[tuple[str, int]]:
    """Source of every called function, with its line."""
    for node in nodes(module):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_only_the_console_prints() -> None:
    printers = re.compile(r"(^|\.)(print|pprint|echo|secho|print_json)$|^sys\.std(out|err)\.")

    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            for call, line in calls(module):
                if module.name != "console" and printers.search(call):
                    yield module.name, f"line {line} calls {call}"

    assert violations("print", found()) == []


def test_only_training_calls_backward() -> None:
    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            for call, line in calls(module):
                if call.endswith(".backward") and module.part != "training":
                    yield module.name, f"line {line} calls {call}"

    assert violations("backward", found()) == []


def test_only_the_renderer_touches_chat_templates() -> None:
    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            if module.name == "tokens.rendering":
                continue
            for node in nodes(module):
                name = getattr(node, "attr", getattr(node, "id", ""))
                if name == "apply_chat_template" or (
                    # The settings' field of this name is a path that the stages hand on.
                    name == "chat_template" and module.part not in ("settings", "stages", "cli")
                ):
                    yield module.name, f"line {getattr(node, 'lineno', 0)} touches {name}"

    assert violations("chat_template", found()) == []


def test_files_and_functions_stay_small() -> None:
    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            lines = module.text.count("\n")
            if lines > MOST_LINES:
                yield module.name, f"{lines} lines, at most {MOST_LINES}"
            for node in nodes(module):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    if length > MOST_FUNCTION_LINES:
                        yield f"{module.name}.{node.name}", f"{length} lines"

    assert violations("size", found()) == []


def test_errors_are_caught_by_name() -> None:
    broad = {"Exception", "BaseException"}

    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            for node in nodes(module):
                if not isinstance(node, ast.ExceptHandler):
                    continue
                names = {
                    n.id for n in ast.walk(node.type or ast.Tuple([])) if isinstance(n, ast.Name)
                }
                if node.type is None or names & broad:
                    yield module.name, f"line {node.lineno} catches everything"

    assert violations("except", found()) == []


def test_nothing_is_left_unfinished() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|NotImplementedError)\b")

    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            for number, line in enumerate(module.text.splitlines(), 1):
                if marks.search(line):
                    yield module.name, f"line {number}: {line.strip()}"

    assert violations("unfinished", found()) == []


def test_everything_public_says_what_it_is() -> None:
    def public(tree: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, str]]:
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                yield f"{name}.{node.name}", "has no docstring"
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{name}.{node.name}")

    def found() -> Iterator[tuple[str, str]]:
        for module in modules():
            if not ast.get_docstring(module.tree):
                yield module.name, "has no docstring"
            yield from public(module.tree, module.name)

    assert violations("docstring", found()) == []


def test_exceptions_are_dated_and_still_needed() -> None:
    for (rule, where), reason in EXCEPTIONS.items():
        assert re.match(r"20\d\d-\d\d-\d\d: \S", reason), f"{rule} {where}: give date and reason"
        assert any(f"{where}.".startswith(f"{module.name}.") for module in modules())
