"""Bits per byte. Run: pytest tests/evaluation/test_retention.py"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.evaluation.retention import Loss, bits_per_byte, retention, retention_panel

LN2 = math.log(2)


def costs(bits_per_character):
    """A model that spends so many bits on each character, a few more on some documents."""

    def losses(texts):
        return [
            LN2 * bits_per_character * len(text) * (1 + 0.01 * (len(text) % 3)) for text in texts
        ]

    return losses


DOCUMENTS = [f"document {'x' * n}" for n in range(40)]


def test_bits_are_over_bytes_not_characters():
    # 8 ln 2 nats over 4 bytes (two letters of 2 bytes) and 4 ln 2 over 2: 12 bits, 6 bytes.
    found = bits_per_byte([Loss(nll=8 * LN2, size=4), Loss(nll=4 * LN2, size=2)])
    assert found.estimate == pytest.approx(2.0)
    one = retention(["éé"], {"base": lambda texts: [8 * LN2]})
    assert one["bytes"] == 4
    assert one["systems"]["base"]["bits_per_byte"] == pytest.approx(2.0)
    assert one["systems"]["base"]["low"] is None


def test_long_documents_weigh_more():
    found = bits_per_byte([Loss(nll=100 * LN2, size=100), Loss(nll=20 * LN2, size=10)])
    assert found.estimate == pytest.approx(120 / 110)
    assert found.clusters == 2


def test_fewer_bits_are_better():
    found = retention(DOCUMENTS, {"base": costs(2.0), "tuned": costs(2.5), "aligned": costs(1.5)})
    json.dumps(found, allow_nan=False)
    assert (found["documents"], found["empty"], found["failed"]) == (40, 0, 0)
    assert found["bytes"] == sum(map(len, DOCUMENTS))
    assert list(found["paired"]) == ["tuned-base", "aligned-base", "aligned-tuned"]
    worse = found["paired"]["tuned-base"]
    assert worse["difference"] == pytest.approx(0.5, abs=0.02)
    assert worse["verdict"] == "worse"
    assert (worse["n"], worse["clusters"], worse["seeds"]) == (40, 40, 1)
    assert found["paired"]["aligned-base"]["verdict"] == "better"
    # Paired, the documents' own difficulty cancels: far narrower than either model's interval.
    base = found["systems"]["base"]
    assert worse["high"] - worse["low"] < (base["high"] - base["low"]) / 2


def test_the_same_model_loses_nothing():
    found = retention(DOCUMENTS, {"base": costs(2.0), "tuned": costs(2.0)})
    entry = found["paired"]["tuned-base"]
    assert (entry["difference"], entry["verdict"]) == (0.0, "no difference shown")


def test_few_documents_or_one_book_are_no_evidence():
    models = {"base": costs(2.0), "tuned": costs(9.0)}
    assert retention(DOCUMENTS[:9], models)["paired"]["tuned-base"]["verdict"] == "no evidence"
    book = retention(DOCUMENTS, models, clusters=["book"] * 40)
    assert book["paired"]["tuned-base"]["verdict"] == "no evidence"


def test_documents_without_loss_are_left_out_for_all_and_counted():
    def breaks(texts):
        assert "" not in texts
        return [math.nan, math.inf, *costs(2.0)(texts)[2:]]

    documents = ["", *DOCUMENTS, ""]
    found = retention(documents, {"base": costs(2.0), "tuned": breaks})
    assert (found["documents"], found["failed"], found["empty"]) == (38, 2, 2)
    assert found["documents"] + found["failed"] + found["empty"] == len(documents)
    without = retention(DOCUMENTS[2:], {"base": costs(2.0)})
    assert found["systems"]["base"] == without["systems"]["base"]


def test_nothing_to_measure():
    for documents in ([], ["", ""]):
        with pytest.raises(EvaluationError) as caught:
            retention(documents, {"base": costs(2.0)})
        assert caught.value.slug == "no-documents"
    with pytest.raises(EvaluationError) as caught:
        retention(["a"], {"base": costs(1.0), "tuned": lambda texts: [math.nan]})
    assert caught.value.slug == "loss-not-finite"
    assert "tuned: 1 of 1" in caught.value.got
    with pytest.raises(ValueError, match="2 losses for 1"):
        retention(["a"], {"base": lambda texts: [1.0, 2.0]})


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), min_size=2, max_size=20))
def test_total_over_total(some):
    found = bits_per_byte([Loss(nll=nll, size=size) for nll, size in some])
    bits = sum(nll for nll, _ in some) / LN2
    assert found.estimate == pytest.approx(bits / sum(size for _, size in some), abs=1e-9)
    assert found.low <= found.estimate <= found.high


def test_a_panel_of_texts():
    asked = []

    def counted(texts):
        asked.append(len(texts))
        return costs(2.0)(texts)

    texts = {"german": DOCUMENTS[:20], "code": [*DOCUMENTS[20:], ""], "few": DOCUMENTS[:5]}
    tuned = {text: LN2 * len(text) * (2.0 if text in DOCUMENTS[:20] else 2.5) for text in DOCUMENTS}
    found = retention_panel(
        texts, {"base": counted, "tuned": lambda given: [tuned[text] for text in given]}
    )
    json.dumps(found, allow_nan=False)
    assert asked == [40]
    assert list(found["texts"]) == ["german", "code", "few"]
    assert [block["documents"] for block in found["texts"].values()] == [20, 20, 5]
    assert found["documents"] == 45
    assert found["texts"]["code"]["empty"] == 1
    german, code, few = (block["paired"]["tuned-base"] for block in found["texts"].values())
    assert (german["noninferior"], code["noninferior"]) == ("pass", "fail")
    assert (few["noninferior"], few["verdict"]) == ("cannot tell", "no evidence")
    assert code["verdict"] == "worse"
    assert (code["comparisons"], code["correction"], few["p_adjusted"]) == (2, "holm", None)
    assert code["relative"]["difference"] == pytest.approx(0.24, abs=0.02)
    assert code["margin"] == 0.05
    # One text gives what it gave before, without a panel.
    alone = retention(DOCUMENTS[:20], {"base": costs(2.0)})
    assert "texts" not in alone
    assert found["texts"]["german"]["systems"]["base"] == alone["systems"]["base"]
    with pytest.raises(ValueError, match="1 losses for 40"):
        retention_panel(texts, {"base": lambda given: [1.0]})
