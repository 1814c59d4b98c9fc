"""Languages of rewordings: their English names, and whether a text can be in one.

What is seen is the script, by the Unicode property of each letter, whether the words are those of
the source, and whether a text in another language of the Latin script is full of small English
words. Other languages of one script are not told apart: Spanish from French, Russian from
Ukrainian, Hindi from Marathi. Chinese is told from Japanese by its lack of kana. Nor is it seen
whether a translation is right. A language that is not in the table is not checked.
"""

from __future__ import annotations

from collections.abc import Mapping

import regex

from regimen.instances.words import tokens

_LANGUAGES = """
Latin: af Afrikaans|ak Akan|az Azerbaijani|ca Catalan|ceb Cebuano|cs Czech
Latin: cy Welsh|da Danish|de German|en English
Latin: eo Esperanto|es Spanish|et Estonian|eu Basque|fi Finnish|fil Filipino|fr French|ga Irish
Latin: gl Galician|ha Hausa|hr Croatian|ht Haitian Creole|hu Hungarian|id Indonesian|ig Igbo
Latin: is Icelandic|it Italian|jv Javanese|la Latin|lb Luxembourgish|lt Lithuanian|lv Latvian
Latin: mg Malagasy|mi Maori|ms Malay|mt Maltese|nl Dutch|no Norwegian|pl Polish|pt Portuguese
Latin: ro Romanian|sk Slovak|sl Slovenian|so Somali|sq Albanian|su Sundanese|sv Swedish|sw Swahili
Latin: tl Tagalog|tr Turkish|vi Vietnamese|xh Xhosa|yo Yoruba|zu Zulu
Cyrillic: be Belarusian|bg Bulgarian|kk Kazakh|ky Kyrgyz|mk Macedonian|mn Mongolian|ru Russian
Cyrillic: tt Tatar|uk Ukrainian
Latin Cyrillic: bs Bosnian|sr Serbian|uz Uzbek
Latin Arabic: ku Kurdish
Arabic: ar Arabic|fa Persian|ps Pashto|sd Sindhi|ug Uyghur|ur Urdu
Hebrew: he Hebrew|yi Yiddish
Devanagari: hi Hindi|mr Marathi|ne Nepali|sa Sanskrit
Bengali: as Assamese|bn Bengali
Gurmukhi Arabic: pa Punjabi
Gujarati: gu Gujarati
Oriya: or Odia
Tamil: ta Tamil
Telugu: te Telugu
Kannada: kn Kannada
Malayalam: ml Malayalam
Sinhala: si Sinhala
Thai: th Thai
Lao: lo Lao
Khmer: km Khmer
Myanmar: my Burmese
Tibetan: bo Tibetan
Georgian: ka Georgian
Armenian: hy Armenian
Ethiopic: am Amharic
Greek: el Greek
Hangul Han: ko Korean
Han Hiragana Katakana: ja Japanese
Han Bopomofo: zh Chinese
"""
_SUBTAGS = {
    "arab": "Arabic",
    "cyrl": "Cyrillic",
    "deva": "Devanagari",
    "hans": "Han",
    "hant": "Han",
    "latn": "Latin",
}

_MOST_SHARED = 0.75
"""Share of a translation's different words that may be words of its source."""
_FEW = 4
"""Fewer different words say nothing about what is shared."""
_ENGLISH = frozenset(
    (
        *("and", "because", "been", "following", "from", "have", "his", "it", "should", "that"),
        *("the", "their", "there", "these", "they", "this", "those", "were", "what", "when"),
        *("which", "with", "would", "you", "your"),
    )
)
"""Small English words that are rare in the other languages of the Latin script."""
_MOST_ENGLISH = 1 / 10
"""Share of the words that may be such words; names and quoted words are."""


def _table() -> Mapping[str, tuple[str, str]]:
    """By code: the English name and the scripts, with spaces between them."""
    table: dict[str, tuple[str, str]] = {}
    for line in _LANGUAGES.strip().splitlines():
        scripts, _, entries = line.partition(": ")
        for entry in entries.split("|"):
            code, _, name = entry.partition(" ")
            table[code] = (name, scripts)
    return table


_TABLE = _table()


def base_code(language: str) -> str:
    """``pt`` of ``pt-BR``, in lower case."""
    return language.partition("-")[0].lower()


def language_name(language: str) -> str:
    """How a language is named in English, with its code where that says more.

    A code that is not known stands for itself: ``the language with the code "xx"``.
    """
    name, _ = _TABLE.get(base_code(language), ("", ""))
    if not name:
        return f'the language with the code "{language}"'
    return f"{name} ({language})" if "-" in language else name


def scripts_of(language: str) -> tuple[str, ...]:
    """Unicode names of the scripts of a language; a subtag such as ``Latn`` decides it alone."""
    for subtag in language.lower().split("-")[1:]:
        if subtag in _SUBTAGS:
            return (_SUBTAGS[subtag],)
    _, scripts = _TABLE.get(base_code(language), ("", ""))
    return tuple(scripts.split())


def script_problem(words: str, language: str) -> str:
    """What is wrong with the letters of a text in a language; empty where nothing is seen.

    At least half of the letters are of the language's scripts; Chinese has no kana, and Japanese
    has some; small English words are few but in English.
    """
    scripts = scripts_of(language)
    letters = regex.findall(r"\p{L}", words)
    if not scripts or not letters:
        return ""
    of_scripts = "".join(rf"\p{{{name}}}" for name in scripts)
    own = regex.findall(f"[{of_scripts}]", "".join(letters))
    if len(own) * 2 < len(letters):
        return f"{len(own)} of {len(letters)} letters are {' or '.join(scripts)}"
    if "Latin" in scripts and base_code(language) != "en" and (english := _english(words)):
        return english
    kana = regex.search(r"[\p{Hiragana}\p{Katakana}]", words) is not None
    if kana and base_code(language) == "zh":
        return "kana in Chinese"
    return "Japanese without kana" if base_code(language) == "ja" and not kana else ""


def _english(words: str) -> str:
    """How many of the words are English, where that is too many."""
    all_words = tokens(words)
    small = sum(word in _ENGLISH for word in all_words)
    if small <= max(1, _MOST_ENGLISH * len(all_words)):
        return ""
    return f"{small} of {len(all_words)} words are English"


def untranslated(words: str, source: str) -> str:
    """The share of a translation's words that the source has too, where it is too large."""
    found, before = set(tokens(words)), set(tokens(source))
    if found == before:
        return "the source's own words"
    shared = len(found & before)
    if len(found) < _FEW or shared <= _MOST_SHARED * len(found):
        return ""
    return f"{shared} of {len(found)} words are the source's"
