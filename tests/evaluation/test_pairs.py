"""What pairs are like: pytest tests/evaluation/test_pairs.py."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regimen.curation.card import pair_rows
from regimen.evaluation.pairs import annotators, pair_statistics
from regimen.instances.answer_sets import AnswerSet, PairRule
from regimen.instances.formats import read_source
from regimen.instances.readers import RawRow, read_rows
from regimen.records import Lineage, Message, Preference


def pair(number: int, chosen: int, rejected: int, margin: float | None = None) -> Preference:
    return Preference(
        prompt=(Message(role="user", content=f"q{number}"),),
        chosen=(Message(role="assistant", content="x" * chosen),),
        rejected=(Message(role="assistant", content="y" * rejected),),
        lineage=Lineage(source="even" if number % 2 == 0 else "odd"),
        margin=margin,
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.none() | st.integers(0, 4)), max_size=25
    )
)
def test_shares_and_correlation_are_those_of_their_definitions(rows: list[Any]) -> None:
    pairs = [pair(n % 7, a, b, m) for n, (a, b, m) in enumerate(rows)]
    found = pair_statistics(pairs)
    apart = [a > b for a, b, _ in rows if a != b]
    assert found["pairs"] == len(rows) == len(apart) + found["length"]["equal"]
    assert found["prompts"] == min(7, len(rows))
    assert sum(found["by_source"].values()) == len(rows)
    longer = found["length"]["longer_chosen"]
    assert (longer is None) == (not apart)
    if longer is not None:
        assert longer["value"] == pytest.approx(np.mean(apart))
        assert longer["low"] is None or longer["low"] <= longer["value"] <= longer["high"]
    given = [(m, a - b) for a, b, m in rows if m is not None]
    assert found["margin"]["given"] == len(given)
    with_length = found["margin_with_length"]
    if with_length is None:
        assert len(given) < 3 or any(len(set(column)) == 1 for column in zip(*given, strict=True))
    else:
        expected = stats.spearmanr(*np.asarray(given).T).statistic
        assert with_length["value"] == pytest.approx(expected)
    assert all(text for _, text in pair_rows(found))


def test_longer_answers_that_always_win_are_seen() -> None:
    found = pair_statistics([pair(n, 2 + n, 1, float(n)) for n in range(20)])
    assert found["length"]["longer_chosen"]["value"] == 1
    assert found["length"]["longer_chosen"]["low"] > 0.5
    assert found["margin_with_length"]["value"] == pytest.approx(1)


def test_annotators_who_rated_nothing_in_common_are_no_pair() -> None:
    votes = [(f"q{n}", (1, None, -1) if n % 2 else (None, 1, 1)) for n in range(8)]
    found = annotators(votes)
    assert set(found["pairs"]) == {
        "annotator 1 and annotator 3",
        "annotator 2 and annotator 3",
    }
    assert found["kappa_fleiss"]["value"] is None


@pytest.mark.realdata
def test_agreement_of_the_three_annotators_of_pandalm(shared_data: Path) -> None:
    file = shared_data / "pandalm/testset-v1.json.zst"
    names = ("annotator1", "annotator2", "annotator3")
    rows = [row.values for row in read_rows(file) if isinstance(row, RawRow)]
    rows = [r for r in rows if isinstance(r["response1"], str) and isinstance(r["response2"], str)]
    sets = list(
        read_source(
            file,
            format="compared",
            columns={"a": "response1", "b": "response2"},
            pairs=PairRule(annotators=names),
        )
    )
    found = annotators([(s.prompt_id, s.votes) for s in sets if isinstance(s, AnswerSet)])
    assert found["n"] == len(rows) == 993
    said = {name: [row[name] for row in rows] for name in names}
    for one, other in combinations(names, 2):
        agreed = np.mean([x == y for x, y in zip(said[one], said[other], strict=True)])
        chance = sum(said[one].count(c) * said[other].count(c) for c in (0, 1, 2)) / len(rows) ** 2
        place = f"annotator {one[-1]} and annotator {other[-1]}"
        measured = found["pairs"][place]["kappa"]["value"]
        assert measured == pytest.approx((agreed - chance) / (1 - chance))
    # the paper reports 0.85, 0.86 and 0.88 (Wang et al. 2023, arXiv 2306.05087)
    kappas = sorted(one["kappa"]["value"] for one in found["pairs"].values())
    assert kappas == pytest.approx([0.851, 0.867, 0.885], abs=1e-3)
    pairs = [[x == y for x, y in combinations([r[n] for n in names], 2)] for r in rows]
    shares = [sum(said[n].count(c) for n in names) / (3 * len(rows)) for c in (0, 1, 2)]
    chance = sum(share**2 for share in shares)
    fleiss = (np.mean(pairs) - chance) / (1 - chance)
    assert found["kappa_fleiss"]["value"] == pytest.approx(fleiss)
    # with every unit rated by all, alpha corrects the chance for the sample's size
    total = 3 * len(rows)
    counts = [round(share * total) for share in shares]
    chance = sum(n * (n - 1) for n in counts) / (total * (total - 1))
    assert found["alpha_nominal"]["value"] == pytest.approx(
        (np.mean(pairs) - chance) / (1 - chance)
    )
    assert found["unanimous"] == pytest.approx(np.mean([all(p) for p in pairs]))
