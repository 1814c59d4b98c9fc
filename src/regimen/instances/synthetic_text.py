"""The texts of a Self-Instruct round: prompts, reading what came back, and the paper's filters.

Pure functions of strings. The filters are those of Self-Instruct (arXiv 2212.10560, section 2 and
appendix A) and Alpaca, made neutral to language: words are Unicode words, and there is no rule
that the first character be ASCII.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regimen.instances.words import normalise, tokens
from regimen.records import Example

# What a text model cannot show, read or do; whole words, in the languages of the starter material.
UNSUITED: tuple[str, ...] = (
    "image", "images", "graph", "graphs", "picture", "pictures", "photo", "photos", "file", "files",
    "map", "maps", "draw", "plot", "go to", "video", "audio", "music", "flowchart", "diagram",
    "dessine", "dessinez", "dessiner", "graphique", "fichier", "vidéo", "diagramme",
    "dibuja", "dibujar", "imagen", "gráfico", "archivo", "vídeo", "diagrama",
)  # fmt: skip
PROGRAM_STARTS = ("write a program", "écris un programme", "escribe un programa")
LAYOUTS = ("{instruction}\n\n{input}", "{instruction}\n{input}", "{input}\n\n{instruction}")

_NUMBERED = re.compile(r"(?m)^[ \t]*\d{1,3}[.):][ \t]*")
_FIELD = re.compile(
    r"(?im)^[ \t]*(?:(input|output|label)[ \t]*:|(example)[ \t]+\d+[ \t]*:?[ \t]*$)"
)
_YES = frozenset(("yes", "y", "oui", "sí", "si", "ja", "true"))
_NO = frozenset(("no", "n", "non", "nein", "false", "not"))
_OPENING_MARKS = "¿¡"

Field = Literal["input", "label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """An instruction that new ones are modelled on, with worked examples.

    ``classification`` says that the possible outputs are few and known; new inputs are then
    written for a given output, or one label would take over.
    """

    instruction: str
    examples: tuple[Example, ...] = ()
    classification: bool = False
    language: str = ""
    licence: str = ""


def instruction_prompt(shown: Sequence[Seed], new: int) -> str:
    """A numbered list of instructions that breaks off where ``new`` more are to follow."""
    last = len(shown) + new
    listed = [f"{n}. {one_line(seed.instruction)}" for n, seed in enumerate(shown, start=1)]
    return "\n".join(
        [
            f"This is the beginning of a list of {last} tasks for a writer. Continue it in the "
            "same language up to the last number. Every task asks for something that no other "
            "task asks for, and it can be done in writing alone.",
            "",
            *listed,
            f"{len(shown) + 1}.",
        ]
    )


def kind_prompt(instruction: str, seeds: Sequence[Seed]) -> str:
    """Asks whether the outputs of a task are a few known labels."""
    shown = "".join(
        f"Task: {one_line(seed.instruction)}\nAnswer: {'yes' if seed.classification else 'no'}\n\n"
        for seed in seeds
    )
    question = "Is the answer to the task one of a few labels that are known before? yes or no."
    return f"{question}\n\n{shown}Task: {one_line(instruction)}\nAnswer:"


def examples_prompt(instruction: str, classification: bool, seeds: Sequence[Seed]) -> str:
    """Asks for worked examples: label first for a classification, input first otherwise."""
    if classification:
        how = "For each task name a label, then write an input that has it; use every label."
    else:
        how = "Write examples of each task: an input, where the task needs one, and the output."
    shown = "".join(_shown(seed, classification) for seed in seeds)
    begin = "" if classification else "Example 1\n"
    return f"{how}\n\n{shown}Task: {one_line(instruction)}\n{begin}"


def _shown(seed: Seed, classification: bool) -> str:
    lines = [f"Task: {one_line(seed.instruction)}"]
    for number, example in enumerate(seed.examples[:3], start=1):
        if classification:
            lines += [f"Label: {example.output}", f"Input: {example.input}"]
            continue
        lines.append(f"Example {number}")
        lines += [f"Input: {example.input}"] if example.input else []
        lines.append(f"Output: {example.output}")
    return "\n".join(lines) + "\n\n"


def task_asked(prompt: str) -> str:
    """The task that ``kind_prompt`` and ``examples_prompt`` ask about: the last one."""
    return prompt.rpartition("Task: ")[2].partition("\n")[0]


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def read_numbered(text: str) -> list[str]:
    """The entries of a numbered list; text before the first number is an entry of its own."""
    return [entry for part in _NUMBERED.split(text) if (entry := one_line(part))]


def read_kind(text: str) -> bool | None:
    """Whether the first word says yes or no; None when it says neither."""
    first = tokens(text)[:1]
    if not first:
        return None
    return True if first[0] in _YES else False if first[0] in _NO else None


def read_examples(text: str, first: Field) -> list[Example]:
    """The examples in a text of ``Input:``, ``Output:`` and ``Label:`` fields.

    Args:
        text: what the generator wrote.
        first: the field that begins an example when it comes again.
    """
    marks = list(_FIELD.finditer(text))
    found: list[Mapping[str, str]] = []
    fields: dict[str, str] = {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=False):
        name = (mark.group(1) or mark.group(2)).lower()
        value = text[mark.end() : end].strip()
        key = "output" if name == "label" else name
        if fields and (name in (first, "example") or key in fields):
            found.append(fields)
            fields = {}
        if name != "example":
            fields[key] = value
    found += [fields] if fields else []
    return [Example(input=f.get("input", ""), output=f.get("output", "")) for f in found]


def instruction_problem(
    text: str, *, min_words: int, max_words: int, unsuited: Sequence[str] = UNSUITED
) -> str | None:
    """Why a new instruction is not used (``slug: detail``), or None."""
    words = tokens(text)
    if len(words) < min_words:
        return f"too_few_words: {len(words)}, at least {min_words}"
    if len(words) > max_words:
        return f"too_many_words: {len(words)}, at most {max_words}"
    joined = f" {' '.join(words)} "
    for phrase in unsuited:
        if f" {' '.join(tokens(phrase))} " in joined:
            return f"unsuited: {phrase}"
    if normalise(text).startswith(PROGRAM_STARTS):
        return "asks_for_program"
    if text.rstrip().endswith(":"):
        return "ends_with_colon"
    first = text.lstrip()[:1]
    kind = unicodedata.category(first)
    if kind[0] in "PS" and kind not in ("Ps", "Pi") and first not in _OPENING_MARKS:
        return f"starts_with_punctuation: {first}"
    return None


def example_problems(examples: Sequence[Example], *, cut: bool, limit: int) -> list[str | None]:
    """For each example of one task why it is not used, or None.

    Args:
        examples: in the order in which they were written.
        cut: the text ended for want of room, so the last example is incomplete.
        limit: most examples of one task.
    """
    problems = [_example_problem(one) for one in examples]
    if cut and problems:
        problems[-1] = "cut_by_length"
    seen: set[tuple[str, str]] = set()
    outputs: dict[str, str] = {}
    conflict = ""
    for position, example in enumerate(examples):
        if problems[position]:
            continue
        pair = (example.input.strip(), example.output.strip())
        if pair in seen:
            problems[position] = "duplicate_example"
        elif pair[0] and outputs.get(pair[0], pair[1]) != pair[1]:
            conflict = conflict or f"conflicting_outputs: {one_line(pair[0])[:80]!r}"
        seen.add(pair)
        outputs.setdefault(*pair)
    kept = 0
    for position, problem in enumerate(problems):
        if problem is None:
            kept += 1
            over = "too_many_examples" if kept > limit else None
            problems[position] = conflict or over
    return problems


def _example_problem(example: Example) -> str | None:
    given, answer = example.input.strip(), example.output.strip()
    if not answer:
        return "empty_output"
    if given == answer:
        return "input_equals_output"
    if given.endswith(":") or answer.endswith(":"):
        return "ends_with_colon"
    return None


def user_text(instruction: str, given: str, layout: str = LAYOUTS[0]) -> str:
    """What the user says: the instruction, and the input where there is one."""
    if not given.strip():
        return instruction.strip()
    before, _, after = layout.partition("{instruction}")
    # Not str.format: instructions and inputs may hold braces.
    parts = (before.replace("{input}", given), instruction, after.replace("{input}", given))
    return "".join(parts).strip()
