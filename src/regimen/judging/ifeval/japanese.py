"""Constraints that only Japanese has, or that its marks and unspaced script make others."""

from __future__ import annotations

import re
import unicodedata

import regex

from regimen.judging.ifeval import formats
from regimen.judging.ifeval.arguments import Arguments

_KANJI = regex.compile(r"\p{Han}")
_HIRAGANA = regex.compile(r"\p{Hiragana}")
_KATAKANA = regex.compile(r"\p{Katakana}")
_OTHER_THAN_HIRAGANA = regex.compile(r"(?V1)[\p{L}--\p{Hiragana}--\p{Common}ー]")
_OTHER_THAN_KATAKANA = regex.compile(r"(?V1)[\p{L}--\p{Katakana}--\p{Common}ー]")
_BARE_KANJI = regex.compile(r"\p{Han}++(?!（[\p{Hiragana}ー]+）)")
_NUMBERED = re.compile(r"(?m)^[^\S\n]*\d+[.．]\s*\S")
_BULLET = re.compile(r"(?m)^[^\S\n]*・\s*\S")
_SECTION = r"第\s?(?:\d+|[一二三四五六七八九十]+)\s?"
_SENTENCE_END = re.compile(r"[。！？!?\n]+")
_CLOSERS = "」』）)】》〉”\"'* \u3000"
# Ends in a noun: kanji, katakana or Latin letters, or one of the commonest nouns in hiragana.
_NOUN = regex.compile(r"(?:[\p{Han}\p{Katakana}ー\p{Latin}]|こと|もの|とき|ところ|ひと)$")
_ZERO = "〇"


def sentences(answer: str) -> list[str]:
    """Texts before 。, ！, ？ or a line's end, without quotes and brackets that close there."""
    parts = (part.strip().rstrip(_CLOSERS) for part in _SENTENCE_END.split(answer))
    return [part for part in parts if any(map(str.isalnum, part))]


def number_sentences(answer: str, arguments: Arguments) -> bool:
    """As many sentences as asked."""
    return arguments.holds(len(sentences(answer)), "num_sentences")


def number_numbered_lists(answer: str, arguments: Arguments) -> bool:
    """Exactly so many lines that begin with a number and a full stop."""
    return len(_NUMBERED.findall(answer)) == arguments.number("num_items")


def number_bullet_lists(answer: str, arguments: Arguments) -> bool:
    """Exactly so many lines that begin with ・, or with ``*`` or ``-``."""
    found = len(_BULLET.findall(answer)) or formats.bullets(answer)
    return found == arguments.number("num_bullets")


def number_highlighted_sections(answer: str, arguments: Arguments) -> bool:
    """At least so many texts between 《 and 》."""
    return arguments.reaches(len(re.findall(r"《[^\n《》]+》", answer)), "num_highlights")


def multiple_sections(answer: str, arguments: Arguments) -> bool:
    """At least so many sections that begin as 第1章 does, with the splitter for 章."""
    splitter = re.escape(arguments.text("section_spliter"))
    return arguments.reaches(len(re.findall(_SECTION + splitter, answer)), "num_sections")


def title(answer: str, arguments: Arguments) -> bool:
    """A title between 『 and 』."""
    return any(text.strip() for text in re.findall(r"『([^\n『』]+)』", answer))


def postscript(answer: str, arguments: Arguments) -> bool:
    """A line begins with the marker of a postscript."""
    marker = arguments.text("postscript_marker")
    return formats.marked(answer, marker, formats.LINE_START) is not None


def constrained_response(answer: str, arguments: Arguments) -> bool:
    """One of the three answers that the prompt allows occurs."""
    allowed = ("はい、そうです。", "いいえ、違います。", "どちらとも言えません。")
    return any(text in answer for text in allowed)


def nominal_ending(answer: str, arguments: Arguments) -> bool:
    """At least so many sentences that end in a noun, as far as its script shows one."""
    found = sum(_NOUN.search(sentence) is not None for sentence in sentences(answer))
    return arguments.reaches(found, "count")


def sentence_unified_end(answer: str, arguments: Arguments) -> bool:
    """Every sentence ends with that text."""
    found = sentences(answer)
    ending = arguments.text("ending")
    return bool(found) and all(sentence.endswith(ending) for sentence in found)


def furigana(answer: str, arguments: Arguments) -> bool:
    """After every run of kanji its reading in hiragana, in full-width brackets."""
    return _BARE_KANJI.search(answer) is None


def kanji(answer: str, arguments: Arguments) -> bool:
    """As many kanji as asked."""
    return arguments.holds(len(_KANJI.findall(answer)), "kanji_limit")


def kansuuji(answer: str, arguments: Arguments) -> bool:
    """No numeral but kanji: no digit of any script, circled or Roman either."""
    numerals = (sign for sign in answer if unicodedata.category(sign).startswith("N"))
    return all(sign == _ZERO for sign in numerals)


def hiragana_only(answer: str, arguments: Arguments) -> bool:
    """Hiragana, and no letter of another script."""
    return _only(answer, _HIRAGANA, _OTHER_THAN_HIRAGANA)


def katakana_only(answer: str, arguments: Arguments) -> bool:
    """Katakana, and no letter of another script."""
    return _only(answer, _KATAKANA, _OTHER_THAN_KATAKANA)


def _only(answer: str, wanted: regex.Pattern[str], others: regex.Pattern[str]) -> bool:
    return wanted.search(answer) is not None and others.search(answer) is None


def no_hiragana(answer: str, arguments: Arguments) -> bool:
    """No hiragana."""
    return _HIRAGANA.search(answer) is None


def no_katakana(answer: str, arguments: Arguments) -> bool:
    """No katakana."""
    return _KATAKANA.search(answer) is None


def no_comma(answer: str, arguments: Arguments) -> bool:
    """No 、 and no comma."""
    return not any(mark in answer for mark in "、,，")


def no_period(answer: str, arguments: Arguments) -> bool:
    """No 。."""
    return "。" not in answer


def quotation(answer: str, arguments: Arguments) -> bool:
    """The whole answer stands between 「 and 」."""
    return formats.wrapped(answer, ("「」",))
