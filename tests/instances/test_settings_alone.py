"""Each variable of the formatting alone: pytest tests/instances/test_settings_alone.py.

The base draws everything. A field that changes may change the marks that it names, in every row
that it does not move to another kind, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pytest

from helpers.formatted import Formatter, prompt
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import task_instances
from regimen.instances.templates import TemplateWorker
from regimen.records import Example, Instance, Task, Template

BASE: dict[str, Any] = {
    "encoding": "mixed",
    "template_share": 0.4,
    "positive": (0, 1, 2, 3),
    "negative": (0, 1),
    "demonstrations": "both",
    "option_labels": "mixed",
    "inverted_share": 0.2,
    "chain_of_thought": "before",
    "chain_of_thought_share": 0.5,
    "max_characters": 100_000,
}
COLOURS = ["red", "green", "blue", "grey"]


def row(n: int) -> dict[str, Any]:
    new = {"input": f"thing {n}", "output": [COLOURS[n % 4], f"rather {COLOURS[n % 4]}"]}
    more = {"options": COLOURS} if n % 2 else {}
    return {**new, **more, "rationale": f"step {n}"}


def example(name: str) -> Example:
    return Example(input=name, output="red", explanation=f"E {name}", reason=f"R {name}",
                   suggestion=f"S {name}")  # fmt: skip


TASK = Task(
    name="t",
    language="es",
    definition="Say the colour.",
    definitions={"es": "Di el color."},
    avoid="No long answers.",
    output_format="One word.",
    templates=(
        *(Template(name=f"t{n}", input=f"{n} {{{{ input }}}}") for n in range(4)),
        Template(name="es", input="es {{ input }}", language="es"),
        Template(name="i", input="{{ output }} from", output="{{ input }}", inverted=True),
    ),
    positive=tuple(example(f"p{n}") for n in range(5)),
    negative=tuple(example(f"n{n}") for n in range(3)),
    instances=tuple(row(n) for n in range(120)),
)


@dataclass(frozen=True)
class Marks:
    """What can be told of an instance."""

    template: str
    inverted: bool
    style: str
    permutation: tuple[int, ...]
    rationale: bool
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    text: str
    answer: str

    @classmethod
    def of(cls, one: Instance) -> Marks:
        said, found = one.lineage.variant.split("+"), one.lineage.demonstrations
        return cls(
            one.lineage.template,
            "inverted" in said or one.lineage.template == "i",
            next((part for part in said if part.startswith("options_")), ""),
            one.lineage.option_permutation,
            any(part.startswith("rationale") for part in said),
            tuple(name for name in found if not name.startswith("negative")),
            tuple(name for name in found if name.startswith("negative")),
            prompt(one),
            str(one.messages[1]),
        )


# field: its other value, the marks that it may change beside the prompt
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "encoding": ("definition", {"template", "inverted", "answer", "positive", "negative", "style",
                                "permutation", "rationale"}),
    "definition": (False, set()),
    "task_name": (True, set()),
    "avoid": (True, set()),
    "output_format": (True, set()),
    "order": ("input_first", set()),
    "positive": ((0, 3, 2, 3), {"positive"}),
    "negative": (2, {"negative"}),
    "demonstrations": ("examples", {"positive"}),
    "explanations": (True, set()),
    "reasons": (True, set()),
    "suggestions": (True, set()),
    "templates": (2, set()),
    "template_pool": (2, {"template", "answer", "positive", "negative", "permutation", "style",
                          "rationale"}),
    "template_share": (0.7, set()),
    "instruction_language": ("es", {"template", "answer", "positive", "negative", "permutation",
                                    "style"}),
    "options": (False, {"style", "permutation", "answer"}),
    "option_order": ("given", {"permutation", "answer"}),
    "option_labels": ("(A)", {"style", "answer"}),
    "option_answer": ("text", {"answer"}),
    "reference": ("random", {"answer"}),
    "inverted_share": (0.5, set()),
    "chain_of_thought": ("after", {"answer"}),
    "chain_of_thought_share": (0.8, {"rationale", "answer"}),
    "max_characters": (150, {"positive", "negative"}),
    "max_tokens": (20, {"positive", "negative"}),
    "input_label": ("Q: ", set()),
    "output_label": ("A: ", set()),
    "explanation_label": ("Why: ", set()),
    "reason_label": ("Since: ", set()),
    "suggestion_label": ("Better: ", set()),
    "negative_label": ("No. ", set()),
}  # fmt: skip
# what has to be on for the field to be seen
NEEDS: dict[str, dict[str, Any]] = {
    f"{name}_label": {f"{name}s": True} for name in ("explanation", "reason", "suggestion")
}


@pytest.fixture(scope="module")
def formatted() -> Iterator[Formatter]:
    with TemplateWorker() as worker:
        yield Formatter(worker)


def marks(formatted: Formatter, **spec: Any) -> dict[int, list[Marks]]:
    found: dict[int, list[Marks]] = {}
    render, tokens = formatted.worker.render, lambda text: len(text.split())
    for one in task_instances([TASK], FormattingSpec(**spec), 200, 7, render, tokens):
        assert isinstance(one, Instance), one
        found.setdefault(one.lineage.row, []).append(Marks.of(one))
    assert len(found) == 120
    return found


def test_every_field_is_looked_at() -> None:
    assert CHANGES.keys() == {field.name for field in fields(FormattingSpec)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_field_changes_what_it_says_and_nothing_else(formatted: Formatter, name: str) -> None:
    value, may = CHANGES[name]
    base = {**BASE, **NEEDS.get(name, {})}
    before, after = marks(formatted, **base), marks(formatted, **{**base, name: value})
    moved = {"template_share", "inverted_share", "encoding"}
    changed = 0
    for number, (one, *_) in before.items():
        other = after[number][0]
        changed += one != other or len(after[number]) > 1
        same_kind = (one.template, one.inverted) == (other.template, other.inverted)
        if name in moved and not same_kind:
            continue
        allowed = may | ({"text"} if name not in {*moved, "templates"} else set())
        for mark in Marks.__dataclass_fields__:
            if mark not in allowed:
                assert getattr(one, mark) == getattr(other, mark), (name, number, mark)
    assert changed > 5


def longer(formatted: Formatter, name: str, small: Any, large: Any, **more: Any) -> Iterator[Any]:
    one = marks(formatted, **{**BASE, **more, name: small})
    two = marks(formatted, **{**BASE, **more, name: large})
    return zip(one.values(), two.values(), strict=True)


def test_fewer_demonstrations_begin_those_of_more(formatted: Formatter) -> None:
    for side, sizes in (("positive", (1, 3)), ("negative", (1, 3))):
        for few, many in longer(formatted, side, *sizes):
            shown, others = getattr(few[0], side), getattr(many[0], side)
            assert others[: len(shown)] == shown
            assert len(shown) <= sizes[0]


def test_fewer_templates_begin_those_of_more(formatted: Formatter) -> None:
    for few, many in longer(formatted, "templates", 2, "all"):
        assert many[: len(few)] == few
        assert len(few) <= 2


def test_a_smaller_pool_of_templates_is_part_of_a_larger_one(formatted: Formatter) -> None:
    base = {**BASE, "encoding": "template", "inverted_share": None}
    runs = [marks(formatted, **{**base, "template_pool": n}) for n in (1, 3, None)]
    pools = [{one.template for (one,) in found.values()} for found in runs]
    assert [len(pool) for pool in pools] == [1, 3, 6]
    assert pools[0] < pools[1] < pools[2]
    for pool, found in zip(pools, runs, strict=True):
        # a row whose template stays in use is asked by it
        kept = {number for number, (one,) in runs[-1].items() if one.template in pool}
        assert kept
        assert all(found[number] == runs[-1][number] for number in kept)
    turned = marks(formatted, **{**base, "template_pool": 1, "inverted_share": 0.5})
    assert len({one.template for (one,) in turned.values()}) == 2


@pytest.mark.parametrize("name", ["max_characters", "max_tokens"])
def test_a_smaller_budget_drops_the_last_demonstrations(formatted: Formatter, name: str) -> None:
    size = len if name == "max_characters" else lambda text: len(text.split())
    limits = (130, 260) if name == "max_characters" else (16, 40)
    for (few, *_), (many, *_) in longer(formatted, name, *limits, positive=3, negative=2):
        assert many.positive[: len(few.positive)] == few.positive
        # positive ones go first: more of them may leave less room for negative ones
        assert few.positive != many.positive or few.negative == many.negative[: len(few.negative)]
        for one, limit in zip((few, many), limits, strict=True):
            assert size(one.text) <= limit or not (one.positive or one.negative)


def test_larger_shares_keep_every_row_of_smaller_ones(formatted: Formatter) -> None:
    for (few, *_), (many, *_) in longer(formatted, "inverted_share", 0.2, 0.6):
        assert few.inverted <= many.inverted
    for (few, *_), (many, *_) in longer(formatted, "chain_of_thought_share", 0.2, 0.6):
        assert few.rationale <= many.rationale
    names = ("definition",)
    for (few, *_), (many, *_) in longer(formatted, "template_share", 0.2, 0.6):
        assert (few.template not in names) <= (many.template not in names)
