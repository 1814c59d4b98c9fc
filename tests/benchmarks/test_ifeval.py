"""Our verdicts beside stored ones: pytest [-m realdata] tests/benchmarks/test_ifeval.py"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard

from regimen.errors import DataError
from regimen.judging.ifeval.kinds import KINDS
from regimen.judging.ifeval.scorers import verdicts

Committed = Callable[[str], dict[str, Any]]


def test_the_committed_result_is_the_page(bench: SimpleNamespace, committed: Committed) -> None:
    result = committed("ifeval")
    text = bench.ifeval_page.TARGET.read_text()
    assert text == bench.ifeval_page.ifeval_page(result)
    assert bench.render.section(result) == ""


def test_every_disagreement_was_read_and_every_kind_is_told(
    bench: SimpleNamespace, committed: Committed
) -> None:
    text = bench.ifeval_page.TARGET.read_text()
    assert "not read yet" not in text
    differ = {
        (d["kind"], d["key"]) for row in committed("ifeval")["rows"] for d in row["disagreements"]
    }
    assert differ == bench.ifeval_page.CAUSES.keys()
    for kind in KINDS:
        assert f"| `{kind[3:] if kind[2] == ':' else kind}` |" in text


def write(folder: Path, name: str, rows: list[dict[str, Any]], *, packed: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    text = "\n".join(map(json.dumps, rows))
    if packed:
        (folder / f"{name}.zst").write_bytes(zstandard.compress(text.encode()))
    else:
        (folder / name).write_text(text)


def made_up(bench: SimpleNamespace, folder: Path, said: list[bool]) -> None:
    """Two questions in each language, and the same answer to both from everybody."""
    for language in ("en", "ja"):
        kinds = [f"{language}:punctuation:no_comma", f"{language}:keywords:existence"]
        question = {
            "key": 1,
            "prompt": "Say it.",
            "instruction_id_list": kinds,
            "kwargs": [{"keywords": None}, {"keywords": ["bee"]}],
        }
        name = Path(bench.ifeval.QUESTIONS.format(language)).name
        write(folder / "ifeval", name, [question, question | {"key": 2}], packed=language == "en")
        answer = {
            "response": "a bee, of course",
            "instruction_id_list": kinds,
            "follow_instruction_list": said,
        }
        for of, model in bench.ifeval.FILES:
            if of == language:
                name = Path(bench.ifeval.ANSWERS.format(of, model)).name
                write(folder / "ifeval-responses", name, [answer, answer])


def test_disagreements_are_counted_and_named(bench: SimpleNamespace, tmp_path: Path) -> None:
    made_up(bench, tmp_path, [False, False])
    result = bench.ifeval.bench(tmp_path, quick=True)
    assert result["agreement"] == 0.5
    assert result["instructions"] == 12
    for row in result["rows"]:
        assert (row["items"], row["agreement"], row["contradicted"]) == (2, 0.5, 2)
        assert row["strict"]["instruction_level"] == 0.5
        assert row["stored"]["prompt_level"] == row["strict"]["prompt_level"] == 0.0
        assert [(d["key"], d["ours"], d["theirs"]) for d in row["disagreements"]] == [
            (1, True, False),
            (2, True, False),
        ]
        assert row["disagreements"][0]["arguments"] == {"keywords": ["bee"]}
    assert "not read yet" in bench.ifeval_page.ifeval_page(result)


def test_rows_that_do_not_belong_together_are_an_error(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    made_up(bench, tmp_path, [True, True])
    language, model = bench.ifeval.FILES[0]
    name = Path(bench.ifeval.ANSWERS.format(language, model)).name
    row = {"response": "a", "instruction_id_list": ["x"], "follow_instruction_list": [True]}
    write(tmp_path / "ifeval-responses", name, [row])
    with pytest.raises(DataError) as error:
        bench.ifeval.bench(tmp_path, quick=True)
    assert error.value.slug == "rows-differ"


@pytest.mark.realdata
def test_stored_verdicts_agree(
    bench: SimpleNamespace, shared_data: Path, committed: Committed
) -> None:
    """99% of each English file and of all; of the Japanese one, of what the text does not deny.

    Four of its 226 stored verdicts say the opposite of what counting the keyword or the character
    in the answer shows, so that its own share is 97.8%.
    """
    result = bench.ifeval.bench(shared_data, quick=False)
    assert result["instructions"] == 1894
    assert result["agreement"] >= 0.99
    assert [row["instructions"] for row in result["rows"]] == [834, 834, 226]
    for row, floor in zip(result["rows"], (0.99, 0.99, 0.975), strict=True):
        assert row["agreement"] >= floor
        assert row["contradicted"] <= 4
        left = [one for one in row["disagreements"] if not one["contradicted"]]
        assert 1 - len(left) / (row["instructions"] - row["contradicted"]) >= 0.99
    for ours, kept in zip(result["rows"], committed("ifeval")["rows"], strict=True):
        assert ours["disagreements"] == kept["disagreements"]


@pytest.mark.realdata
@pytest.mark.parametrize("language", ["en", "es", "fr", "ja"])
def test_every_published_constraint_can_be_checked(
    bench: SimpleNamespace, shared_data: Path, language: str
) -> None:
    rows = bench.stored.read_whole(shared_data / bench.ifeval.QUESTIONS.format(language))
    items = [bench.ifeval.item_of(language, row) for row in rows]
    for item in items:
        assert len(verdicts(item, "An answer.")) == len(item.constraints)
    found = {constraint.kind for item in items for constraint in item.constraints}
    assert found == {kind for kind in KINDS if kind.startswith(f"{language}:")}
