"""Numbers in text, of any script and any custom of writing them: what ``numeric`` compares.

Read: digits of every script; groups of thousands by comma, dot, apostrophe, Arabic separator or
no-break space, and Indian groups (1,23,456); decimal point, comma and Arabic separator; fractions
(3/4, 1 3/4, ½, ``\\frac{3}{4}``); powers (6e-2, 6 × 10^-2, 10²); numerals such as 四十二; signs
of per cent and words such as million, 万 or लाख behind a number. Currencies and units are no part
of a number. Values are exact, so 0.1 equals 0.10 and no tolerance hides an error.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import regex

from regimen.instances.words import fold

Number = Decimal | Fraction

_POWERS: dict[int, str] = {
    -2: "% ٪ percent prozent",
    3: "k thousand mil mille tausend тысяч тысячи тысяча हज़ार हजार ألف 千 천",
    4: "万 萬 만",
    5: "lakh lakhs लाख",
    6: "million millions millón millones milhão milhões millionen milione milioni миллион "
    "миллиона миллионов مليون 百万 百萬",
    7: "crore crores करोड़",
    8: "亿 億 억",
    9: "billion billions milliard milliards milliarde milliarden miliardo miliardi миллиард "
    "миллиарда миллиардов مليار",
    12: "trillion trillions 万亿 萬億 兆",
}
_POWER_OF = {fold(word): power for power, words in _POWERS.items() for word in words.split()}

_MARKS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2012\u2013\ufe63\uff0d", "-"),
        "\u066b": ".",  # Arabic decimal separator
        "\u066c": ",",  # Arabic thousands separator
        # Raised digits are powers or notes, not the last digits of the number before them.
        **{raised: f"^{plain}" for plain, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }
)
_RAISED_LETTER = regex.compile(r"(?<=\p{L})[⁰¹²³⁴-⁹]+")  # m² is a unit
_VULGAR = regex.compile(r"(\d?)\s*([¼-¾⅐-⅞↉])")
_FRAC = regex.compile(r"(\d?)\s*\\[dt]?frac\s*(?:\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)(\d))")
_LATEX = regex.compile(r"\\!|\\(?=[%$])|\{(?=,\})|(?<=\{,)\}")
# French and Spanish group with no-break or thin spaces, the Swiss with apostrophes. A plain space
# groups only from two groups on: "in 2019 150 people" holds two numbers.
_GROUP = regex.compile("(?<=\\d)['\u2019\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")
_GROUPS = regex.compile(r"(?<![\d.,])\d{1,3}(?: \d{3}){2,}(?!\d)")

_HAN_DIGITS = {**{c: i for i, c in enumerate("〇一二三四五六七八九")}, "零": 0, "两": 2, "兩": 2}
_HAN_POWERS = {"十": 1, "百": 2, "千": 3, "천": 3, "万": 4, "萬": 4, "만": 4}
_HAN_POWERS |= {"亿": 8, "億": 8, "억": 8, "兆": 12}
_HAN = "[" + "".join([*_HAN_DIGITS, *_HAN_POWERS]) + "]"
_MIXED = regex.compile(
    r"\d{1,20}+[百千万萬亿億兆천만억](?:\d{1,20}+[十百千万萬亿億兆천만억]?)+(?!\d)"
)
# Without digits, numerals count where they are all there is, up to a counter of two characters:
# inside a sentence 一 is an article or a part of a word.
_NUMERALS = regex.compile(rf"[^\p{{L}}\p{{N}}]*(第?{_HAN}+)\p{{L}}{{0,2}}[^\p{{L}}\p{{N}}]*")

_UNITS = "|".join(regex.escape(word) for word in sorted(_POWER_OF, key=len, reverse=True))
# A letter of these three scripts before a digit makes a name (x2, H2O); other scripts write numbers
# without a space. A minus behind a letter or a digit is a hyphen or a subtraction.
_NUMBER = regex.compile(
    r"""
    (?: (?<![\w.)])(?P<sign>[-+])[$€£¥₹]? | (?<![\p{Latin}\p{Greek}\p{Cyrillic}\p{N}_])
        (?<!\d[.,])(?<sign>(?<=[$€£¥₹])-|) )
    (?: (?<!\d/)(?:(?P<whole>\d{1,3}+)[ ])?
        (?P<over>\d{1,99}+)[ ]?/[ ]?(?P<under>\d{1,99}+)(?!/\d|[.,]\d)
      | (?P<value>\d+(?:[.,]\d+)*+|\.\d++) (?:e(?P<power>[-+]?\d{1,4}+))?
        (?: [ ]?(?:[×x·*]|\\times)[ ]?10[ ]?\^[ ]?\{?(?P<times>[-+]?\d{1,4}+)\}?
          | \^\{?(?P<raised>\d{1,2}+)\}?(?!\d) )? )
    (?!\d) (?: [ ]?(?P<unit>UNITS)(?!(?<=\p{Latin}|\p{Cyrillic}|\p{Arabic}|\p{Devanagari})\p{L}) )?
    """.replace("UNITS", _UNITS),
    regex.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, and the power of ten that a word or sign behind it stands for; None without one."""

    value: Number
    power: int | None = None

    @property
    def scaled(self) -> Number:
        """The value with its word counted in: 5 million is 5,000,000, and 45% is 0.45."""
        if self.power is None:
            return self.value
        if isinstance(self.value, Fraction):
            return self.value * Fraction(10) ** self.power
        sign, digits, exponent = self.value.as_tuple()
        return Decimal((sign, digits, int(exponent) + self.power))  # scaleb would round

    def agrees(self, other: Quantity) -> bool:
        """Equal; where only one has a word or sign behind it, with or without counting it.

        45% agrees with 0.45 and, as an answer to "how many per cent", with 45.
        """
        if (self.power is None) == (other.power is None):
            return self.scaled == other.scaled
        bare, named = (self, other) if self.power is None else (other, self)
        return bare.value in (named.value, named.scaled)


def quantities(text: str) -> list[Quantity]:
    """The numbers of a text in order; Han numerals where there are no digits."""
    plain = _plain(text)
    found = [_quantity(match) for match in _NUMBER.finditer(plain)]
    if found:
        return found
    numerals = _NUMERALS.fullmatch(plain)
    return [Quantity(Decimal(_han(numerals[1].removeprefix("第"))))] if numerals else []


def _plain(text: str) -> str:
    """Folded text in which one custom of writing numbers is left."""
    text = _VULGAR.sub(lambda found: _part(found[1], _vulgar(found[2])), text)
    text = _RAISED_LETTER.sub("", text).translate(_MARKS)
    text = _FRAC.sub(
        lambda found: _part(found[1], f"{found[2] or found[4]}/{found[3] or found[5]}"),
        _LATEX.sub("", text),
    )
    folded = fold(_GROUP.sub("", text))
    folded = _GROUPS.sub(lambda found: found[0].replace(" ", ""), folded)
    plain: str = _MIXED.sub(lambda found: str(_han(found[0])), folded)
    return plain


def _part(whole: str, part: str) -> str:
    """A fraction, apart from the whole number before it."""
    return f"{whole} {part}" if whole else part


def _vulgar(sign: str) -> str:
    return unicodedata.normalize("NFKC", sign).replace("\u2044", "/")


def _quantity(found: regex.Match[str]) -> Quantity:
    unit = found["unit"]
    power = None if unit is None else _POWER_OF[unit]
    sign = -1 if found["sign"] == "-" else 1
    if found["over"] is None:
        value = _decimal(found["value"], int(found["power"] or 0) + int(found["times"] or 0))
        if found["raised"] and len(found["value"]) < 10:
            return Quantity(sign * Fraction(value) ** int(found["raised"]), power)
        return Quantity(value.copy_negate() if sign < 0 else value, power)
    over, under = int(found["over"]), int(found["under"])
    if under == 0:
        return Quantity(Decimal(0), power)
    part = Fraction(over, under)
    # A mixed number has a part below 1, and a whole of three digits at most, which a year has not.
    return Quantity(sign * (part + int(found["whole"] or 0) if part < 1 else part), power)


def _decimal(digits: str, power: int) -> Decimal:
    """A comma is a thousands separator before groups of three, else a decimal comma."""
    if regex.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?|\d{1,2}(,\d{2})+,\d{3}(\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif regex.fullmatch(r"\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    else:
        digits = digits.replace(",", ".")
    try:
        return Decimal(f"{digits}e{power}")
    except InvalidOperation:  # a list without spaces, such as 1,2,3
        return Decimal(regex.split(r"[.,]", digits)[-1])


def _han(text: str) -> int:
    """Value of numerals of powers (四十二, 3万5千) or of places (二〇二四)."""
    total = section = current = 0
    empty = True  # no digit since the last power: 十 alone is 1 ten
    for part in regex.findall(r"\d+|\D", text):
        power = _HAN_POWERS.get(part)
        if power is None:
            digit = _HAN_DIGITS.get(part)
            current, empty = (int(part) if digit is None else current * 10 + digit), False
        elif power < 4:
            section += (1 if empty else current) * 10**power
            current, empty = 0, True
        else:
            below = total % 10**power
            total += (below + section + current or 1) * 10**power - below
            section, current, empty = 0, 0, True
    return total + section + current
