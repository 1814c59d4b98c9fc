"""Examples of the documentation: what the code itself writes for the settings above each of them.

    python tests/helpers/doc_examples.py      writes those of docs/formatting.md anew

An example is a block of YAML that begins with ``formatting:`` and a block of text below it. It
shows row 15 of the task of ``recipes/table``, or the one that a comment names (``# row 3``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from regimen.files import atomic_write
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import FormattingFailure, TaskRows, formatted
from regimen.instances.task_files import read_task_file
from regimen.instances.task_rows import numbered_rows
from regimen.instances.templates import TemplateWorker
from regimen.records import Instance, Task
from regimen.settings import yaml12
from regimen.settings.formatting import FormattingSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "formatting.md"
TASK = ROOT / "recipes" / "table" / "waste.task.yaml"
SEED, ROW = 1, 15
_EXAMPLE = re.compile(
    r"(?P<head>```yaml\n(?P<settings>formatting:.*?)```\n\n```text\n)(?P<shown>.*?)(?P<tail>```\n)",
    re.DOTALL,
)
_ROW = re.compile(r"# row (\d+)")


def blocks(page: str, language: str) -> list[str]:
    """The contents of a page's blocks of a language, those with a title too."""
    found = re.findall(rf"(?ms)^```{language}(?: [^\n]*)?\n(.*?)^```$", page)
    return [str(one) for one in found]


def examples(page: str) -> int:
    """How many examples a page has."""
    return len(_EXAMPLE.findall(page))


def rewritten(page: str) -> str:
    """The page with what its settings make of the task now."""
    (task,) = read_task_file(TASK)
    assert isinstance(task, Task)
    with TemplateWorker() as worker:

        def shown(found: re.Match[str]) -> str:
            text = _written(task, found["settings"], worker)
            return f"{found['head']}{text}\n{found['tail']}"

        return _EXAMPLE.sub(shown, page)


def _written(task: Task, text: str, worker: TemplateWorker) -> str:
    section = yaml12.parse(text, "example").data["formatting"]
    settings = FormattingSettings.model_validate(section)
    spec = FormattingSpec(**settings.model_dump(exclude={"tokenizer"}))
    row = _ROW.search(text)
    number = int(row[1]) if row else ROW
    candidates = numbered_rows(task, len(task.instances), SEED)
    piece = TaskRows(task, ((number, task.instances[number]),), tuple(candidates))
    made = formatted([piece], spec, SEED, worker.render)
    return "\n---\n".join(_shown(one) for one in made)


def _shown(made: Instance | FormattingFailure) -> str:
    """The prompt, and behind arrows what is learned."""
    if isinstance(made, FormattingFailure):
        return f"failed: {made.error}: {made.got}\n{made.fix}"
    prompt, answer = made.messages
    thoughts = [f"→ (reasoning) {answer.reasoning}"] if answer.reasoning else []
    return "\n".join([prompt.text, *thoughts, f"→ {answer.text}"])


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first heading is this one."""
    rows: list[list[str]] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if rows and not cells:
            break
        if rows or (cells and cells[0] == heading):
            rows.append(cells)
    return rows[2:]


def code(text: str) -> list[str]:
    """All that a text writes as code."""
    return re.findall(r"`([^`]+)`", text)


def plain(value: Any) -> str:
    """A value as the table of settings writes it."""
    if value is None:
        return "not given"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    atomic_write(PAGE, rewritten(PAGE.read_text(encoding="utf-8")))
