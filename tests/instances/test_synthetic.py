"""One Self-Instruct round with scripted generators: pytest tests/instances/test_synthetic.py"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.scripted import ScriptedGenerator, recombining_generator
from regimen.instances.synthetic import self_instruct
from regimen.instances.synthetic_round import Round, SelfInstructSpec
from regimen.instances.synthetic_text import LAYOUTS, Seed, kind_prompt
from regimen.protocols import Completion, Generator, Request
from regimen.records import Example


def seed(instruction: str, *pairs: tuple[str, str], **options: object) -> Seed:
    examples = tuple(Example(input=a, output=b) for a, b in pairs)
    options = {"language": "en", "licence": "Apache-2.0"} | options
    return Seed(instruction=instruction, examples=examples, **options)  # type: ignore[arg-type]


SEEDS = (
    seed("Write the words in reverse order.", ("red blue", "blue red"), ("a b", "b a")),
    seed("Count the letters of the word.", ("pear", "4"), ("fig", "3")),
    seed("Name the capital of the country.", ("Peru", "Lima"), ("Kenya", "Nairobi")),
    seed("Give one use of an old newspaper.", ("", "Wrap glasses in it.")),
    seed("Is the number even or odd?", ("4", "even"), ("7", "odd"), classification=True),
    seed("Is the animal a bird or a fish?", ("carp", "fish"), ("owl", "bird"), classification=True),
    seed("Escribe el plural de la palabra.", ("flor", "flores"), language="es"),
    seed("Di el color de la fruta.", ("limón", "amarillo"), language="es"),
)
ONE = SelfInstructSpec(instructions=7)


class Pool:
    """Novelty by equality: enough to see that the round asks and obeys."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self.known, self.asked = list(known), list[str]()

    def __call__(self, text: str) -> str | None:
        self.asked.append(text)
        if text in self.known:
            return text
        self.known.append(text)
        return None


def scripted(
    instructions: str | Completion, kind: str | Completion = "no", examples: str | Completion = ""
) -> ScriptedGenerator:
    return ScriptedGenerator(
        {".*-instructions-.*": instructions, ".*-kind-.*": kind, ".*-examples-.*": examples}
    )


def run(generator: Generator, spec: SelfInstructSpec = ONE, seeds: Sequence[Seed] = SEEDS) -> Round:
    return self_instruct(seeds, generator, Pool([s.instruction for s in seeds]), spec)


def dropped(found: Round, step: str) -> Counter[str]:
    return Counter(one.reason for one in found.dropped if one.step == step)


def test_a_round_makes_instances_with_their_lineage() -> None:
    generator = scripted(
        " Say what the weather is like.\n10. Name three tools of a baker.",
        examples="Input: Oslo\nOutput: Cold.\nExample 2\nInput: Cairo\nOutput: Hot.",
    )
    found = run(generator, seeds=SEEDS[:4])
    assert found.entered == {"instructions": 2, "instances": 4}
    assert found.kept == {"instructions": 2, "instances": 4}
    assert (found.dropped, found.failed) == ((), ())
    first = found.instances[0]
    assert {m.role for m in first.messages} == {"user", "assistant"}
    assert "Say what the weather is like." in first.messages[0].text
    assert "Oslo" in first.messages[0].text
    assert first.messages[1].text == "Cold."
    lineage = first.lineage
    assert (lineage.source, lineage.generator, lineage.row) == ("self_instruct", "scripted", 0)
    assert (lineage.language, lineage.licence) == ("en", "Apache-2.0")
    assert lineage.template in {f"layout-{n}" for n in range(len(LAYOUTS))}
    assert len({one.instance_id for one in found.instances}) == 4
    assert len({one.lineage.task for one in found.instances}) == 2
    assert [len(s.examples) for s in found.seeds] == [2, 2]


def test_every_dropped_instruction_has_its_reason() -> None:
    entries = [
        "Rewrite it.",
        "Draw a plan of the house and colour it.",
        "Count the letters of the word.",
        "Write a program that adds two numbers.",
        "- list the months of the year",
        "Answer the following question:",
        "word " * 151,
        "Describe how bread is made.",
    ]
    text = "\n".join(f"{n}. {entry}" for n, entry in enumerate(entries, start=9))
    found = run(scripted(text, examples="Output: Flour and water are mixed."), seeds=SEEDS[:4])
    assert dropped(found, "instructions") == {
        "too_few_words": 1,
        "unsuited": 1,
        "not_novel": 1,
        "asks_for_program": 1,
        "starts_with_punctuation": 1,
        "ends_with_colon": 1,
        "too_many_words": 1,
    }
    assert found.entered["instructions"] == 8
    assert [s.instruction for s in found.seeds] == ["Describe how bread is made."]
    close = next(one for one in found.dropped if one.reason == "not_novel")
    assert "Count the letters of the word." in close.detail


def test_novelty_is_asked_in_order_and_only_for_what_passes_the_other_filters() -> None:
    pool = Pool()
    self_instruct(SEEDS[:4], scripted("too short\n2. One good task here.\n3. One good task here."),
                  pool, ONE)  # fmt: skip
    assert pool.asked == ["One good task here."] * 2


def test_a_list_cut_by_length_is_discarded_entry_by_entry() -> None:
    cut = Completion(text="One good task here.\n2. Another good task he", finish="length")
    found = run(scripted(cut))
    assert dropped(found, "instructions") == {"cut_by_length": 2}
    assert found.instances == ()


def test_empty_lists_errors_and_silence_are_counted() -> None:
    assert dropped(run(scripted(" \n ")), "instructions") == {"nothing_written": 1}
    failed = run(scripted(Completion(text="", finish="error", error="out of memory"))).failed
    assert [(f.step, f.error, f.got) for f in failed] == [
        ("instructions", "generation_error", "out of memory")
    ]

    class Silent:
        name = "silent"

        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
            return iter(())

    (silent,) = run(Silent()).failed
    assert silent.where == "round0-instructions-00000"
    assert "no answer" in silent.got


def test_a_kind_that_is_neither_yes_nor_no_is_a_failure_not_a_guess() -> None:
    found = run(scripted("One good task here.", kind="maybe"))
    assert [(f.step, f.error) for f in found.failed] == [("instances", "neither_yes_nor_no")]
    assert found.entered == {"instructions": 1, "instances": 1}
    assert [s.instruction for s in found.seeds] == ["One good task here."]


def test_failures_of_later_requests_are_failures_of_instances() -> None:
    broken = Completion(text="", finish="error", error="gone")
    assert run(scripted("One good task here.", kind=broken)).failed[0].step == "instances"
    assert run(scripted("One good task here.", examples=broken)).failed[0].step == "instances"


def test_classifications_are_asked_label_first() -> None:
    prompts: dict[str, str] = {}

    def answer(request: Request) -> str:
        prompts[request.id] = request.messages[0].text
        if "-instructions-" in request.id:
            return "Is the plant a tree or a flower?"
        if "-kind-" in request.id:
            return "Yes."
        return "Label: tree\nInput: oak\nLabel: flower\nInput: rose"

    found = run(ScriptedGenerator(answer), seeds=SEEDS[:6])
    assert [m.text for one in found.instances for m in one.messages[1:]] == ["tree", "flower"]
    assert {one.lineage.category for one in found.instances} == {"classification"}
    assert "Label: fish\nInput: carp" in prompts["round0-examples-00000"]
    assert "Count the letters" not in prompts["round0-examples-00000"]


def test_dropped_examples_have_reasons_and_the_whole_candidate() -> None:
    text = "Input: a\nOutput: \nExample 2\nInput: b\nOutput: c"
    found = run(scripted("One good task here.", examples=text))
    (one,) = found.dropped
    assert (one.step, one.reason) == ("instances", "empty_output")
    assert one.record["input"] == "a"
    assert one.record["instruction"] == "One good task here."
    assert dropped(run(scripted("One good task here.", examples="Sorry?")), "instances") == {
        "no_example_found": 1
    }


class Shuffled:
    """The same answers in another order."""

    def __init__(self, inner: Generator, order: int) -> None:
        self.inner, self.order, self.name = inner, order, inner.name

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        answers = list(self.inner.generate(requests))
        random.Random(self.order).shuffle(answers)
        return iter(answers)


@given(st.integers(0, 10_000))
def test_the_order_of_arrival_changes_nothing(order: int) -> None:
    spec = SelfInstructSpec(instructions=28)
    generator = recombining_generator(SEEDS)
    assert run(Shuffled(generator, order), spec) == run(generator, spec)


def test_prompts_depend_on_the_seed_and_the_round_alone() -> None:
    def prompts(spec: SelfInstructSpec) -> list[str]:
        seen: list[str] = []

        def answer(request: Request) -> str:
            seen.append(request.messages[0].text)
            return ""

        run(ScriptedGenerator(answer), spec)
        return seen

    spec = SelfInstructSpec(instructions=21)
    assert prompts(spec) == prompts(spec)
    assert len(prompts(spec)) == 3
    assert prompts(spec) != prompts(replace(spec, seed=1))
    assert prompts(spec) != prompts(replace(spec, round=1))


def test_a_prompt_shows_one_language_and_offspring_take_it_on() -> None:
    machine = (seed("Cuenta las vocales.", language="es", licence="CC-BY-4.0"),)
    shown: list[str] = []

    def answer(request: Request) -> str:
        shown.append(request.messages[0].text)
        return "Una tarea nueva y buena." if "-instructions-" in request.id else "no"

    seeds = SEEDS[-2:]
    found = self_instruct(seeds, ScriptedGenerator(answer), Pool(), ONE, machine)
    assert "Cuenta las vocales." in shown[0]
    assert "Count the letters" not in shown[0]
    (made,) = found.seeds
    assert (made.language, made.licence) == ("es", "Apache-2.0 AND CC-BY-4.0")


def test_a_parent_without_licence_leaves_the_offspring_without() -> None:
    seeds = (SEEDS[0], replace(SEEDS[1], licence=""))
    assert run(scripted("One good task here."), seeds=seeds).seeds[0].licence == ""


def test_sampling_is_that_of_the_paper_and_text_prompts_are_possible() -> None:
    asked: dict[str, Request] = {}

    def answer(request: Request) -> str:
        asked[request.id.split("-")[1]] = request
        return {"instructions": "One good task here.", "kind": "no"}.get(
            request.id.split("-")[1], ""
        )

    run(ScriptedGenerator(answer), replace(ONE, as_text=True), SEEDS[:6])
    new, kind, examples = asked["instructions"], asked["kind"], asked["examples"]
    assert (new.temperature, new.top_p, new.max_new_tokens) == (0.7, 0.5, 1024)
    assert new.stop == ("\n14.",)
    assert (kind.temperature, kind.max_new_tokens) == (0.0, 3)
    assert (examples.temperature, examples.stop) == (0.0, ("\nTask:",))
    assert new.messages == ()
    assert new.text.endswith("\n7.")


def test_a_round_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="seed"):
        run(scripted(""), seeds=())


def test_a_round_that_lost_something_does_not_check() -> None:
    found = run(scripted("One good task here.", examples="Output: x"))
    with pytest.raises(ValueError, match="does not reconcile"):
        replace(found, instances=(), kept={"instructions": 1, "instances": 0}).check()


def test_scripted_answers_by_id_then_by_pattern_then_an_error() -> None:
    generator = ScriptedGenerator({"a1": "exact", "a.": "pattern", "a9": "never"}, name="n")
    assert isinstance(generator, Generator)
    found = dict(generator.generate([Request(id=name) for name in ("a1", "a2", "b")]))
    assert (found["a1"].text, found["a2"].text) == ("exact", "pattern")
    assert found["b"].finish == "error"
    assert "b" in found["b"].error


def test_the_recombining_writer_gives_kept_and_removed_and_right_answers() -> None:
    spec = SelfInstructSpec(instructions=56)
    found = run(recombining_generator(SEEDS), spec)
    assert found == run(recombining_generator(SEEDS), spec)
    assert found.failed == ()
    removed = dropped(found, "instructions")
    assert removed["not_novel"] >= 8
    assert removed["too_few_words"] == 8
    assert removed["unsuited"] == 8
    assert found.entered["instructions"] == 56
    assert len(found.instances) >= 10
    assert {one.lineage.language for one in found.instances} == {"en", "es"}
    assert {one.lineage.category for one in found.instances} == {"classification", "generation"}
    known = {e.output for s in SEEDS for e in s.examples}
    for one in found.instances:
        parts = one.messages[1].text.replace(", ", "\n").split("\n")
        assert set(parts) <= known


def test_the_recombining_writer_admits_what_it_did_not_write() -> None:
    request = Request(id="round0-kind-00000", text=kind_prompt("Unknown task.", SEEDS))
    ((_, completion),) = recombining_generator(SEEDS).generate([request])
    assert completion.finish == "error"
