"""What the letters of a text say: pytest tests/instances/rewording/test_languages.py."""

from __future__ import annotations

import pytest

from regimen.instances.languages import _NAMES, language_code
from regimen.instances.rewording.languages import (
    language_name,
    script_problem,
    scripts_of,
    untranslated,
)

RIGHT = {
    "en": "Say which word is the longest.",
    "es": "Di qué palabra es la más larga.",
    "ru": "Скажи, какое слово самое длинное.",
    "sr-Latn": "Reci koja je reč najduža.",
    "sr-Cyrl": "Реци која је реч најдужа.",
    "el": "Πες ποια λέξη είναι η μεγαλύτερη.",
    "ar": "قل أي كلمة هي الأطول.",
    "he": "אמור איזו מילה היא הארוכה ביותר.",
    "hi": "बताओ कि कौन सा शब्द सबसे लंबा है।",
    "zh": "说出最长的词。",
    "zh-Hant": "說出最長的詞。",
    "ja": "いちばん長い単語を言ってください。",
    "ko": "가장 긴 단어를 말하세요.",
    "th": "บอกคำที่ยาวที่สุด",
    "am": "ረጅሙን ቃል ተናገር።",
}
ONE_SCRIPT = {"en": "es", "es": "sr-Latn", "ru": "sr-Cyrl", "zh": "zh-Hant"}


@pytest.mark.parametrize("language", RIGHT)
def test_a_text_passes_in_its_language_alone(language: str) -> None:
    assert script_problem(RIGHT[language], language) == ""
    for other, text in RIGHT.items():
        if set(scripts_of(other)).isdisjoint(scripts_of(language)):
            assert script_problem(text, language), other


def test_chinese_and_japanese_are_told_apart_by_kana() -> None:
    assert script_problem("次の文章を要約", "zh") == "kana in Chinese"
    assert script_problem(RIGHT["zh"], "ja") == "Japanese without kana"


def test_names_of_things_may_stay_in_another_script() -> None:
    assert script_problem("Перепиши код на Python", "ru") == ""
    assert script_problem("Rewrite the word код in Python", "ru") == "3 of 25 letters are Cyrillic"


def test_one_script_is_not_told_apart_and_unknown_languages_are_not_checked() -> None:
    assert script_problem(RIGHT["es"], "fr") == ""
    assert script_problem(RIGHT["en"], "tlh") == ""
    assert script_problem("12 + 3 = ?", "ru") == ""


def test_english_is_told_from_other_languages_of_its_script() -> None:
    english = "Tell me which of these words is the longest, and what it means."
    assert script_problem(english, "en") == ""
    for language in ("es", "de", "sw", "vi"):
        assert script_problem(english, language) == "6 of 13 words are English"
    assert script_problem("Traduis « the cat and the dog » en une phrase du même sens.", "fr")
    quoted = "Dis combien de fois on lit le petit mot « the » dans le texte qui est en bas."
    assert script_problem(quoted, "fr") == ""


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("es", "Spanish"),
        ("pt-BR", "Portuguese (pt-BR)"),
        ("tlh", 'the language with the code "tlh"'),
    ],
)
def test_names(code: str, name: str) -> None:
    assert language_name(code) == name


def test_every_language_that_sources_name_has_its_name_and_a_script() -> None:
    for entry in _NAMES.strip().replace("\n", "|").split("|"):
        code = language_code(entry.rpartition(" ")[0])
        assert not language_name(code).startswith("the language"), entry
        assert scripts_of(code), entry


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("say WHICH word is the longest", "the source's own words"),
        ("Please say which word is longest.", "5 of 6 words are the source's"),
        ("Di qué palabra is the longest", ""),
        ("longest word", ""),
    ],
)
def test_a_translation_that_repeats_its_source(words: str, problem: str) -> None:
    assert untranslated(words, RIGHT["en"]) == problem
