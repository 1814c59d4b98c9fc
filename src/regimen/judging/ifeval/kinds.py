"""The table of all kinds of instruction, and the verdict on one constraint.

A kind without a language is English. English kinds are those of Zhou et al. 2023 (2311.07911,
table 1), the others those of M-IFEval (Dussolle et al. 2025, 2502.04688). Where a language has no
function of its own, the marks and the counts are those of English.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from regimen.errors import EvaluationError, near
from regimen.judging.ifeval import formats, japanese, keywords, lengths
from regimen.judging.ifeval.arguments import Arguments, composed, require_names
from regimen.records import Constraint

Check = Callable[[str, Arguments], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is checked, with the names of its arguments.

    ``language`` says that the language of the answer is told, for which a library is needed.
    """

    check: Check
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    language: bool = False


PROMPT = "prompt_to_repeat"

_FREQUENCY = ("keyword", "frequency", "relation")
_LETTERS = ("letter", "let_frequency", "let_relation")
_CAPITALS = ("capital_frequency", "capital_relation")
_NTH = ("num_paragraphs", "nth_paragraph", "first_word")
_SECTIONS = ("section_spliter", "num_sections")

COMMON: Mapping[str, Kind] = {
    "keywords:existence": Kind(keywords.existence, ("keywords",)),
    "keywords:frequency": Kind(keywords.frequency, _FREQUENCY),
    "keywords:forbidden_words": Kind(keywords.forbidden_words, ("forbidden_words",)),
    "keywords:letter_frequency": Kind(keywords.letter_frequency, _LETTERS),
    "language:response_language": Kind(keywords.response_language, ("language",), language=True),
    "length_constraints:number_sentences": Kind(
        lengths.number_sentences, ("num_sentences", "relation")
    ),
    "length_constraints:number_paragraphs": Kind(lengths.number_paragraphs, ("num_paragraphs",)),
    "length_constraints:number_words": Kind(lengths.number_words, ("num_words", "relation")),
    "length_constraints:nth_paragraph_first_word": Kind(lengths.nth_paragraph_first_word, _NTH),
    "detectable_content:number_placeholders": Kind(
        formats.number_placeholders, ("num_placeholders",), ("relation",)
    ),
    "detectable_content:postscript": Kind(formats.postscript, ("postscript_marker",)),
    "detectable_format:number_bullet_lists": Kind(formats.number_bullet_lists, ("num_bullets",)),
    "detectable_format:constrained_response": Kind(formats.constrained_response),
    "detectable_format:number_highlighted_sections": Kind(
        formats.number_highlighted_sections, ("num_highlights",), ("relation",)
    ),
    "detectable_format:multiple_sections": Kind(
        formats.multiple_sections, _SECTIONS, ("relation",)
    ),
    "detectable_format:json_format": Kind(formats.json_format),
    "detectable_format:title": Kind(formats.title),
    "combination:two_responses": Kind(formats.two_responses),
    "combination:repeat_prompt": Kind(formats.repeat_prompt, (), (PROMPT,)),
    "startend:end_checker": Kind(formats.end_checker, ("end_phrase",)),
    "startend:quotation": Kind(formats.quotation),
    "change_case:capital_word_frequency": Kind(formats.capital_word_frequency, _CAPITALS),
    "punctuation:no_comma": Kind(formats.no_comma),
}
"""What the four languages share, as English has it."""

ENGLISH: Mapping[str, Kind] = {
    **COMMON,
    "change_case:english_capital": Kind(formats.english_capital, language=True),
    "change_case:english_lowercase": Kind(formats.english_lowercase, language=True),
}

SPANISH: Mapping[str, Kind] = {
    **COMMON,
    "change_case:spanish_capital": Kind(formats.spanish_capital, language=True),
    "change_case:spanish_lowercase": Kind(formats.spanish_lowercase, language=True),
    "detectable_content:postscript": Kind(formats.postscript_line, ("postscript_marker",)),
    "detectable_format:constrained_response": Kind(formats.constrained_response_es),
    "punctuation:exclamation_marks": Kind(formats.exclamation_marks),
    "punctuation:question_marks": Kind(formats.question_marks),
    "special_character:dieresis": Kind(keywords.dieresis, ("let_frequency",)),
    "special_character:enie": Kind(keywords.enie, ("let_frequency",)),
    "special_character:tildes": Kind(keywords.tildes, ("num_words", "relation")),
    "startend:quotation": Kind(formats.quotation_marks),
}

FRENCH: Mapping[str, Kind] = {
    **COMMON,
    "change_case:french_capital": Kind(formats.french_capital, language=True),
    "change_case:french_lowercase": Kind(formats.french_lowercase, language=True),
    "detectable_content:informal_address": Kind(keywords.informal_address),
    "detectable_content:no_digits": Kind(keywords.no_digits),
    "detectable_content:postscript": Kind(formats.postscript_line, ("postscript_marker",)),
    "detectable_format:constrained_response": Kind(formats.constrained_response_fr),
    "detectable_format:title": Kind(formats.title_in_hashes),
    "special_character:accents": Kind(keywords.accents, ("word_to_accentuate",)),
    "special_character:ethel_or_cedilla": Kind(keywords.ethel_or_cedilla, ("forbidden_char",)),
    "special_character:no_accents": Kind(keywords.no_accents),
    "startend:quotation": Kind(formats.quotation_marks),
}

# Words and letter cases are not counted in Japanese.
_NOT_JAPANESE = ("length_constraints:number_words", "change_case:capital_word_frequency")

JAPANESE: Mapping[str, Kind] = {
    **{name: kind for name, kind in COMMON.items() if name not in _NOT_JAPANESE},
    "detectable_content:postscript": Kind(japanese.postscript, ("postscript_marker",)),
    "detectable_format:constrained_response": Kind(japanese.constrained_response),
    "detectable_format:multiple_sections": Kind(
        japanese.multiple_sections, _SECTIONS, ("relation",)
    ),
    "detectable_format:nominal_ending": Kind(japanese.nominal_ending, ("count",)),
    "detectable_format:number_bullet_lists": Kind(japanese.number_bullet_lists, ("num_bullets",)),
    "detectable_format:number_highlighted_sections": Kind(
        japanese.number_highlighted_sections, ("num_highlights",), ("relation",)
    ),
    "detectable_format:number_numbered_lists": Kind(japanese.number_numbered_lists, ("num_items",)),
    "detectable_format:title": Kind(japanese.title),
    "keywords:forbidden_words": Kind(keywords.forbidden_texts, ("forbidden_words",)),
    "length_constraints:nth_paragraph_first_word": Kind(lengths.nth_paragraph_first_text, _NTH),
    "length_constraints:number_letters": Kind(lengths.number_letters, ("num_letters", "relation")),
    "length_constraints:number_sentences": Kind(
        japanese.number_sentences, ("num_sentences", "relation")
    ),
    "letters:furigana": Kind(japanese.furigana),
    "letters:hiragana_only": Kind(japanese.hiragana_only),
    "letters:kanji": Kind(japanese.kanji, ("kanji_limit", "relation")),
    "letters:kansuuji": Kind(japanese.kansuuji),
    "letters:katakana_only": Kind(japanese.katakana_only),
    "letters:no_hiragana": Kind(japanese.no_hiragana),
    "letters:no_katakana": Kind(japanese.no_katakana),
    "punctuation:no_comma": Kind(japanese.no_comma),
    "punctuation:no_period": Kind(japanese.no_period),
    "startend:quotation": Kind(japanese.quotation),
    "startend:sentence_unified_end": Kind(japanese.sentence_unified_end, ("ending",)),
}

KINDS: Mapping[str, Kind] = {
    **ENGLISH,
    **{f"en:{name}": kind for name, kind in ENGLISH.items()},
    **{f"es:{name}": kind for name, kind in SPANISH.items()},
    **{f"fr:{name}": kind for name, kind in FRENCH.items()},
    **{f"ja:{name}": kind for name, kind in JAPANESE.items()},
}


def check(constraint: Constraint, answer: str, prompt: str = "") -> bool:
    """Whether the answer satisfies the constraint; a blank answer satisfies none.

    Args:
        constraint: with its arguments, without those that are null.
        answer: as the model gave it.
        prompt: what has to be repeated where the constraint does not say it.

    Raises:
        EvaluationError: ``unknown-constraint``, ``bad-constraint``.
        MissingExtraError: ``missing-library``, where a language has to be told.
    """
    kind = kind_named(constraint.kind)
    values = dict(constraint.arguments)
    if PROMPT in kind.may:
        values.setdefault(PROMPT, prompt)
    require_names(constraint.kind, values, kind.needs, kind.may)
    # A blank answer is replaced, so that arguments are read, and misread, all the same.
    text = composed(answer) if answer.strip() else "-"
    met = kind.check(text, Arguments(constraint.kind, values))
    return met and bool(answer.strip())


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        EvaluationError: ``unknown-constraint``.
    """
    if name not in KINDS:
        raise EvaluationError(
            f"There is no kind of constraint {name!r}.",
            slug="unknown-constraint",
            got=name,
            expected="a kind of IFEval, such as length_constraints:number_words, or of M-IFEval "
            "with its language, such as fr:punctuation:no_comma",
            fix=near(name, KINDS),
        )
    return KINDS[name]
