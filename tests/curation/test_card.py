"""The data card: pytest tests/curation/test_card.py"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.card import card_markdown, data_card, quantiles
from regimen.instances.licences import restriction, strictest
from regimen.records import Instance, Lineage, Message, Preference


def row(answer: str, **lineage: str) -> Instance:
    return Instance(
        messages=(
            Message(role="user", content="question"),
            Message(role="assistant", content=answer),
        ),
        lineage=Lineage(**lineage),  # type: ignore[arg-type]
    )


def test_counts_by_facet_are_ordered_and_sum_to_the_instances() -> None:
    rows = [
        row("a", source="s", family="words", language="en", licence="MIT", task="t1"),
        row("bb", source="s", family="dates", language="fr", licence="MIT", task="t2"),
        row("ccc", source="r", family="words", language="fr", task="t2"),
    ]
    ledger = {
        "length": {"in": 6, "kept": 4, "removed": {"too_long": 2}, "failed": {}},
        "leaks": {"in": 4, "kept": 3, "removed": {"leak_task": 1}, "failed": {"broken": 1}},
    }
    card = data_card(rows, ledger=ledger)
    assert (card["instances"], card["tasks"], card["preferences"]) == (3, 2, 0)
    assert list(card["by_family"].items()) == [("words", 2), ("dates", 1)]
    assert list(card["by_language"].items()) == [("fr", 2), ("en", 1)]
    assert card["by_licence"] == {"MIT": 2, "(not given)": 1}
    assert card["by_category"] == {"(not given)": 3}
    assert card["removed"] == {"too_long": 2, "leak_task": 1}
    assert card["failed"] == {"broken": 1}
    assert card["characters"]["prompt"]["0.5"] == 8
    assert card["characters"]["answer"] == {
        "0": 1, "0.05": 1, "0.25": 1, "0.5": 2, "0.75": 3, "0.95": 3, "1": 3,
    }  # fmt: skip
    assert json.loads(json.dumps(card)) == card


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "CC0-1.0"], "MIT"),
        (["Apache-2.0", "CC-BY-4.0"], "Apache-2.0"),
        (["CC-BY-4.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0", "MIT"], "CC-BY-NC-4.0"),
        (["CC BY-NC 4.0", "MIT"], "CC BY-NC 4.0"),
        (["MIT", ""], ""),
        (["CC-BY-NC-4.0", "see the website"], "see the website"),
        (["MIT AND CC-BY-NC-4.0", "CC-BY-SA-4.0"], "MIT AND CC-BY-NC-4.0"),
        ([], ""),
    ],
)
def test_the_strictest_licence(licences: list[str], expected: str) -> None:
    assert strictest(licences) == expected
    assert strictest(reversed(licences)) == expected


def test_non_commercial_share_alike_counts_as_non_commercial() -> None:
    assert restriction("CC-BY-NC-SA-4.0") > restriction("CC-BY-SA-4.0") > restriction("CC-BY-3.0")


def test_a_licence_that_is_not_given_is_the_strictest_of_the_card() -> None:
    pair = Preference(prompt=(), chosen=(), rejected=(), lineage=Lineage(licence=""))
    assert data_card([row("a", licence="MIT")], [pair])["strictest_licence"] == "(not given)"
    assert data_card([row("a", licence="MIT")])["strictest_licence"] == "MIT"


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_quantiles_are_values_that_occur_and_never_fall(values: list[int]) -> None:
    found = list(quantiles(values).values())
    assert set(found) <= set(values)
    assert found == sorted(found)
    assert (found[0], found[-1]) == (min(values), max(values))


def test_markdown_has_a_table_per_facet_and_says_what_it_leaves_out() -> None:
    rows = [row("a", source=f"s{n:02d}", family="a|b") for n in range(50)]
    text = card_markdown(data_card(rows))
    assert "50 training instances" in text
    assert "| 10 more | 10 |" in text
    assert "| a\\|b | 50 |" in text
    assert "## Removed" not in text
    tables = [line for line in text.splitlines() if line.startswith("|---")]
    assert len(tables) == 8


def test_an_empty_card_is_a_card() -> None:
    card = data_card([])
    assert card["characters"] == {"prompt": {}, "answer": {}}
    assert card["strictest_licence"] == "(not given)"
    assert "0 training instances" in card_markdown(card)


def test_demonstrations_are_counted_by_how_many_and_positions_and_lints_are_told() -> None:
    rows = [
        row("a", template="t", demonstrations=("positive:1", "row:2")),  # type: ignore[arg-type]
        row("b", template="t"),
    ]
    card = data_card(rows)
    assert card["by_demonstrations"] == {"0": 1, "2": 1}
    assert card["by_template"] == {"t": 2}
    card["option_positions"] = {
        "all": {"3": {"counts": [5, 1200, 6], "p": 1e-9}, "2": {"counts": [1, 2], "p": None}}
    }
    card["lints"] = {"tasks": 3, "findings": {"warning": {"repeated_inputs": 2}}}
    text = card_markdown(card)
    assert "| 3 | 5, 1,200, 6 | 1e-09 |" in text
    assert "| 2 | 1, 2 | too few |" in text
    assert "## Lints: warning" in text
    assert "| repeated_inputs | 2 |" in text
