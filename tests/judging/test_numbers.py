"""Numbers of any script: pytest tests/judging/test_numbers.py"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.judging.numbers import Number, Quantity, quantities
from regimen.judging.rules import numeric


def last_number(text: str) -> Number | None:
    found = quantities(text)
    return found[-1].value if found else None


# Arabic, Persian, Devanagari, Bengali, Thai, full width.
ZEROS = "٠۰०০๐０"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", "42"),
        ("The answer is 42.", "42"),
        ("first 3, then 4", "4"),
        ("-3.50", "-3.5"),
        ("\u22127", "-7"),
        ("10-3", "3"),
        ("1,234", "1234"),
        ("1,234,567.5", "1234567.5"),
        ("3,14", "3.14"),
        ("1.234,5", "1234.5"),
        ("1.234.567", "1234567"),
        ("1\u202f234,5", "1234.5"),
        (".5", "0.5"),
        ("6E-2", "0.06"),
        ("$5 million", "5"),
        ("1,2,3", "3"),
        ("٤٢", "42"),
        ("five", None),
        ("", None),
        ("x2", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("答案是42个", "42"),
        ("答えは42です", "42"),
        ("정답은 42입니다", "42"),
        ("ב-42", "42"),
        ("１，２３４．５", "1234.5"),
        ("٣٫٥", "3.5"),
        ("١٬٢٣٤", "1234"),
        ("१,२३,४५६", "123456"),
        ("1'234", "1234"),
        ("12 345 678", "12345678"),
        ("in 2019 150 people", "150"),
        ("Rs.500", "500"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("$1,234.50.", "1234.5"),
        ("1{,}234 \\text{ m}", "1234"),
        ("6.02 × 10^{23}", "6.02e23"),
        ("6 x 10^-2", "0.06"),
        ("10²", "100"),
        ("5 m²", "5"),
        ("四十二", "42"),
        ("五个", "5"),
        ("二〇二四年", "2024"),
        ("一千两百三十四", "1234"),
        ("一亿二千万", "120000000"),
        ("一万二千亿", "1200000000000"),
        ("3万5千円", "35000"),
        ("一样东西很好", None),
        ("COVID-19", "19"),
        ("1e99999", "1"),
        ("12/25/2024", "2024"),
        ("1/0", "0"),
    ],
)
def test_numbers_of_other_scripts_and_customs(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3/4", Fraction(3, 4)),
        ("1 3/4 cups", Fraction(7, 4)),
        ("1½", Fraction(3, 2)),
        ("½", Fraction(1, 2)),
        ("３／４", Fraction(3, 4)),
        ("-\\frac{1}{2}", Fraction(-1, 2)),
        ("2\\dfrac12", Fraction(5, 2)),
        ("2019 3/4", Fraction(3, 4)),
    ],
)
def test_fractions_are_exact(text: str, number: Fraction) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("45%", "45", 1),
        ("45 percent", "0.45", 1),
        ("45%", "45%", 1),
        ("٤٥٪", "45", 1),
        ("$5 million", "5000000", 1),
        ("$5 million", "5", 1),
        ("5 million", "5 billion", 0),
        ("1.5億", "150000000", 1),
        ("5 लाख", "500000", 1),
        ("5 miles", "5000", 0),
        ("5 kg", "5000", 0),
        ("0.75", "3/4", 1),
        ("4.5%", "45", 0),
    ],
)
def test_words_and_signs_behind_a_number(answer: str, reference: str, score: float) -> None:
    assert numeric(answer, [reference]) == numeric(reference, [answer]) == score


@given(st.integers(-(10**12), 10**12), st.sampled_from(ZEROS))
def test_digits_of_every_script_are_the_same_number(number: int, zero: str) -> None:
    written = str(number).translate({48 + d: chr(ord(zero) + d) for d in range(10)})
    assert last_number(f"({written})") == number


@given(st.integers(0, 10**9))
def test_groups_of_thousands_are_one_number(number: int) -> None:
    assert last_number(f"{number:,}") == last_number(f"{number:,}".replace(",", "\u202f")) == number


@examples(150)
@given(*2 * [st.text("0123456789.,-+/%^e '$½²十万三亿\\frac{}xk٣٫", max_size=14)])
def test_agreement_is_symmetric_and_a_number_equals_itself(a: str, b: str) -> None:
    assert numeric(a, [b]) == numeric(b, [a])
    assert numeric(a, [a]) == float(bool(quantities(a)))


def test_no_length_of_digits_is_too_long() -> None:
    nines = "9" * 5000
    for text in (nines, f"1/{nines}", f"{nines}万3", f"2^{nines}", f"1e{nines}"):
        assert quantities(text)
    assert Quantity(Decimal(nines), 6).scaled == Decimal(f"{nines}000000")
