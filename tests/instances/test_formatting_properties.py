"""Random tasks under random specs: pytest tests/instances/test_formatting_properties.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.formatted import answer, prompt
from regimen.instances.draws import Draws
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import FormattingFailure, formatted, task_instances, task_rows
from regimen.instances.options import STYLES
from regimen.instances.task_rows import accepted_outputs, row_key
from regimen.instances.templates import TemplateWorker
from regimen.instances.wordings import WORDINGS, wording
from regimen.records import Example, Instance, Task, Template

WORDS = st.sampled_from(
    ["sun", "Sea", "two  words", "שלום עולם", "مرحبا \u202eabc", "e\u0301te\u0301", "中文字",
     "👩‍🚀🏽",
     "a ||| b", "{{ input }}", "{% if x %}", "|||", "}}", "Ａ１", "No", "NO", "1", "A", "yes."]
)  # fmt: skip
LISTED = {
    "plain": Template(name="plain", input="{{ input }}?"),
    "block": Template(name="block", input="Say: {{ input }}\n{{ options_block }}"),
    "own": Template(name="own", input="{{ input }}: {{ options | join(' / ') }}"),
    "place": Template(name="place", input="{{ options | join(' / ') }}", output="{{ output }}"),
    "joint": Template(name="joint", input="{{ ['Say', 'Tell'] | choice }} {{ input }} ||| "
                      "{{ output }}", output=""),
    "choices": Template(name="choices", input="{{ input }}; {{ answer_choices | join(' / ') }} ||| "
                        "{{ output }}", output="", choices="{{ options | join('|||') }}"),
    "inverted": Template(name="inverted", input="{{ output }} <-", output="{{ input }}",
                         inverted=True),
    "spanish": Template(name="spanish", input="Di: {{ input }}", language="es"),
    "fails": Template(name="fails", input="{{ nowhere }}"),
}  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(0, 6))
    outputs = draw(st.lists(WORDS, min_size=1, max_size=2, unique=True))
    row: dict[str, Any] = {"input": f"{draw(WORDS)} {number}", "output": outputs}
    if draw(st.booleans()):
        others = draw(st.lists(WORDS, max_size=3))
        row["options"] = draw(
            st.permutations([outputs[0], *others, *draw(st.just([""]) | st.just([]))])
        )
    if draw(st.booleans()):
        row["rationale"] = f"because {number}"
    if draw(st.integers(0, 9)) == 0:
        row["output"] = draw(st.sampled_from(["", None, [], "none of them", float("nan")]))
    return row


EXAMPLES = st.lists(
    st.builds(Example, input=WORDS.map(lambda w: f"{w} 3"), output=WORDS, explanation=WORDS),
    max_size=3,
).map(tuple)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    return Task(
        name="any",
        language=draw(st.sampled_from(["en", "es", "zh"])),
        definition="Say what follows.",
        definitions=draw(st.sampled_from([{}, {"es": "Di lo que sigue."}])),
        output_format=draw(st.sampled_from(["", "One word."])),
        options=draw(st.sampled_from([(), ("sun", "Sea", "no")])),
        templates=tuple(draw(st.lists(st.sampled_from(list(LISTED.values())), max_size=4,
                                      unique_by=lambda one: one.name))),
        positive=draw(EXAMPLES),
        negative=draw(EXAMPLES),
        instances=tuple(draw(st.lists(rows(), min_size=1, max_size=5))),
    )  # fmt: skip


COUNTS = st.integers(0, 3) | st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
SPECS = st.builds(
    FormattingSpec,
    encoding=st.sampled_from(
        ["definition", "template", "natural_instructions", "tk_instruct", "mixed"]
    ),
    definition=st.booleans(),
    order=st.sampled_from(["definition_first", "input_first"]),
    output_format=st.booleans(),
    positive=COUNTS,
    negative=COUNTS,
    demonstrations=st.sampled_from(["examples", "rows", "both"]),
    explanations=st.booleans(),
    templates=st.sampled_from(["one", "all", 2]),
    template_share=st.sampled_from([0.0, 0.5, 1.0]),
    instruction_language=st.sampled_from(["own", "input", "es"]),
    options=st.booleans(),
    option_order=st.sampled_from(["given", "shuffled"]),
    option_labels=st.sampled_from([*STYLES, "mixed"]),
    option_answer=st.sampled_from(["label", "text", "both"]),
    reference=st.sampled_from(["first", "random"]),
    inverted_share=st.sampled_from([None, 0.0, 0.5, 1.0]),
    chain_of_thought=st.sampled_from(["none", "before", "after", "reasoning"]),
    chain_of_thought_share=st.sampled_from([0.5, 1.0]),
    max_characters=st.sampled_from([10, 80, 200, 4000]),
    max_tokens=st.sampled_from([None, 2, 12, 60]),
)
SEEDS = st.integers(0, 99)


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker() as running:
        yield running


def words(text: str) -> int:
    return len(text.split())


def made(
    worker: TemplateWorker, task: Task, spec: FormattingSpec, seed: int
) -> list[Instance | FormattingFailure]:
    return list(task_instances([task], spec, 999, seed, worker.render, words))


def learned(one: Instance, task: Task) -> str:
    """The answer without its rationale."""
    text = answer(one)
    phrases = [wording(task.instruction_language), *WORDINGS.values()]
    for phrase in phrases:
        if "rationale_before" in one.lineage.variant:
            before, mark, after = text.partition(f"\n{phrase.therefore} ")
            if mark and before.startswith("because"):
                return after
        if "rationale_after" in one.lineage.variant:
            before, mark, after = text.rpartition(f"\n{phrase.because} ")
            if mark and after.startswith("because"):
                return before
    return text


def check_options(one: Instance, task: Task, row: dict[str, Any]) -> None:
    """The permutation maps places to options as given, and the answer is the right one's."""
    given_options = [str(o) for o in row.get("options") or task.options]
    order = one.lineage.option_permutation
    shown = [given_options[place] for place in order]
    assert len(set(order)) == len(order)
    assert all(option.strip() or one.lineage.template == "choices" for option in shown)
    if not one.lineage.verdicts:
        return
    position, total = one.lineage.verdicts[0].removeprefix("answer_at:").split("/")
    assert int(total) == len(order)
    right = shown[int(position) - 1]
    folded = {" ".join(text.casefold().split()) for text in accepted_outputs(row)}
    assert " ".join(right.casefold().split()) in folded
    style = next(
        (part[8:] for part in one.lineage.variant.split("+") if part.startswith("options_")), "dash"
    )
    label = STYLES[style].label_at(int(position) - 1)
    assert learned(one, task).strip() in {right.strip(), label, f"{label} {right}".strip()}
    if label and one.lineage.template not in ("own", "place"):
        line = STYLES[style].line(int(position) - 1, right)
        assert line.strip() in prompt(one)


def check(one: Instance, task: Task, spec: FormattingSpec) -> None:
    row = dict(task.instances[one.lineage.row])
    accepted = accepted_outputs(row)
    inverted = "inverted" in one.lineage.variant or one.lineage.template == "inverted"
    if inverted:
        assert any(text.strip() in prompt(one) for text in accepted)
        assert answer(one).strip() == row["input"].strip()
        assert one.messages[1].reasoning == ""
    elif one.lineage.template != "place":
        assert row["input"].strip() in prompt(one)
    if not inverted and not one.lineage.verdicts and one.lineage.template != "choices":
        assert learned(one, task).strip() in {text.strip() for text in accepted}
    if one.lineage.option_permutation:
        check_options(one, task, row)
    check_demonstrations(one, task, spec, row)


def check_demonstrations(
    one: Instance, task: Task, spec: FormattingSpec, row: dict[str, Any]
) -> None:
    shown = one.lineage.demonstrations
    assert len(set(shown)) == len(shown)
    for name in shown:
        kind, _, place = name.partition(":")
        examples = {"positive": task.positive, "negative": task.negative}
        if kind == "row":
            assert int(place) != one.lineage.row
            other = row_key(task.instances[int(place)])
        else:
            other = row_key({"input": examples[kind][int(place) - 1].input})
        assert other != row_key(row)
    for side, most in (("negative", spec.negative), ("positive", spec.positive)):
        wanted = (
            2 if spec.encoding == "tk_instruct" else max((most,) if isinstance(most, int) else most)
        )
        assert sum(name.startswith("negative") == (side == "negative") for name in shown) <= wanted
    if shown:
        assert len(prompt(one)) <= spec.max_characters
        assert spec.max_tokens is None or words(prompt(one)) <= spec.max_tokens


@examples(150)
@given(tasks(), SPECS, SEEDS)
def test_every_row_gives_right_instances_or_a_reason(
    worker: TemplateWorker, task: Task, spec: FormattingSpec, seed: int
) -> None:
    found = made(worker, task, spec, seed)
    numbers = {one.row if isinstance(one, FormattingFailure) else one.lineage.row for one in found}
    assert numbers == set(range(len(task.instances)))
    for one in found:
        if isinstance(one, FormattingFailure):
            assert one.error
            assert one.fix
        else:
            check(one, task, spec)
    assert len({one.instance_id for one in found if isinstance(one, Instance)}) == sum(
        isinstance(one, Instance) for one in found
    )


@examples(50)
@given(tasks(), SPECS, SEEDS, st.integers(1, 4))
def test_order_and_pieces_change_no_instance(
    worker: TemplateWorker, task: Task, spec: FormattingSpec, seed: int, size: int
) -> None:
    whole = [asdict(one) for one in made(worker, task, spec, seed)]
    pieces = list(task_rows([task], spec, 99, seed, at_once=size))
    apart = [
        asdict(one)
        for piece in reversed(pieces)
        for one in formatted([piece], spec, seed, worker.render, words)
    ]
    assert sorted(map(repr, apart)) == sorted(map(repr, whole))
    if len(pieces) == 1:
        assert apart == whole


@given(SEEDS, st.sampled_from([0.1, 0.5]))
def test_shares_and_counts_come_out_as_asked(
    worker: TemplateWorker, seed: int, share: float
) -> None:
    """Draws of the variables are checked on their own; this looks at what came out of them."""
    n = 400
    task = Task(
        name=f"t{seed}",
        definition="d",
        templates=(LISTED["plain"],),
        positive=tuple(Example(input=f"p{i}", output="x") for i in range(4)),
        instances=tuple({"input": f"i{i}", "output": "y", "rationale": "z"} for i in range(n)),
    )
    spec = FormattingSpec(
        encoding="mixed", template_share=share, inverted_share=None, positive=(0, 0, 1, 3),
        chain_of_thought="before", chain_of_thought_share=share,
    )  # fmt: skip
    found = [one for one in made(worker, task, spec, seed) if isinstance(one, Instance)]
    shots = [len(one.lineage.demonstrations) for one in found]
    counts = {
        share: [sum(one.lineage.template == "plain" for one in found),
                sum("rationale" in one.lineage.variant for one in found)],
        0.25: [shots.count(1), shots.count(3)],
        0.50001: [shots.count(0)],
    }  # fmt: skip
    for p, values in counts.items():
        for value in values:
            assert abs(value - n * p) < 5 * (n * p * (1 - p)) ** 0.5
    turned = FormattingSpec(inverted_share=share)
    number = sum("inverted" in one.lineage.variant for one in made(worker, task, turned, seed)
                 if isinstance(one, Instance))  # fmt: skip
    assert number == sum(Draws(seed, task.name, i).chance("inverted", share) for i in range(n))
    assert abs(number - n * share) < 5 * (n * share * (1 - share)) ** 0.5
