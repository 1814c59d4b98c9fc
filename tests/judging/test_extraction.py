"""Final answers: pytest tests/judging/test_extraction.py"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from regimen.judging.extraction import after_answer, final, final_numeric
from regimen.judging.numbers import quantities
from regimen.judging.rules import normalised


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 + 2 = 4\n#### 4", "4"),
        ("Let us see. So the answer is (B).", "(B)"),
        ("The answer is 5. No, wait. The final answer is **7**.", "7"),
        ("The answer is not 5.", None),
        ("**Answer:** Paris", "Paris"),
        ("Answer: Mr. Smith. He was first.", "Mr. Smith"),
        ("the answer is 3.5 metres", "3.5 metres"),
        ("The answer is therefore:\n\n\\[ 42 \\]", "42"),
        ("so \\boxed{\\frac{3}{4}}.", "\\frac{3}{4}"),
        ("an open \\boxed{3", None),
        ("So the answer is ] } ].", "] } ]"),
        ("**The answer is**\n***\n>", ">"),
        ("La réponse est 42.", "42"),
        ("La re\u0301ponse est oui.", "oui"),
        ("La respuesta correcta es París.", "París"),
        ("Die Antwort lautet: Köln.", "Köln"),
        ("A resposta é não.", "não"),
        ("La risposta è sì.", "sì"),
        ("Правильный ответ: Москва.", "Москва"),
        ("所以答案是四十二。", "四十二"),
        ("答えは東京です。", "東京です"),
        ("정답은 서울", "서울"),
        ("الإجابة الصحيحة هي ٤٢", "٤٢"),
        ("उत्तर है ४२।", "४२"),
        ("đáp án là Hà Nội", "Hà Nội"),
        ("Jibu ni ndiyo.", "ndiyo"),
        ("No mark at all.", None),
        ("", None),
    ],
)
def test_what_stands_behind_the_mark(text: str, found: str | None) -> None:
    assert after_answer(text) == found
    assert after_answer(unicodedata.normalize("NFD", text)) == found


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("The answer is 3 * 6 = 18 dollars for 2 days.", "18", 1),
        ("She has 3 and 4, so 7 in all.", "#### 7", 1),
        ("The answer is unclear, but 5.", "5", 1),
        ("#### 7", "8", 0),
        ("no number", "8", 0),
        ("答案是四十二。", "42", 1),
        ("The answer is $1,234.", "1234", 1),
    ],
)
def test_final_numeric(answer: str, reference: str, score: float) -> None:
    assert final_numeric(answer, [reference]) == score


def test_a_rule_on_final_answers() -> None:
    rule = final(normalised)
    assert rule("It was hot. The answer is Paris.", ["paris"]) == 1
    assert rule("Paris", ["So the answer is Paris."]) == 1
    assert rule("Paris, I think", ["Paris"]) == 0


@given(st.text())
def test_a_text_is_its_own_final_answer(text: str) -> None:
    assert final(normalised)(text, [text]) == 1
    found = after_answer(text)
    assert found is None or found.strip()


@pytest.mark.realdata
def test_every_target_of_gsm8k_is_read(shared_data: Path) -> None:
    path = shared_data / "gsm8k" / "test.jsonl.zst"
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        rows = [json.loads(line) for line in stream.read().splitlines()]
    assert len(rows) == 1319
    for row in rows:
        target = row["answer"].rpartition("####")[2].strip()
        number = quantities(target)[-1].value
        assert number == int(target.replace(",", ""))
        assert final_numeric(row["answer"], [target]) == 1
        assert final_numeric(f"So the answer is {target}.", [row["answer"]]) == 1
