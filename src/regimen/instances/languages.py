"""English names of languages to their codes (ISO 639-1 where there is one, else 639-3)."""

from __future__ import annotations

_NAMES = """
Afrikaans af|Akan ak|Albanian sq|Amharic am|Arabic ar|Armenian hy|Assamese as|Azerbaijani az
Basque eu|Belarusian be|Bengali bn|Bosnian bs|Bulgarian bg|Burmese my|Catalan ca|Cebuano ceb
Central Khmer km|Chinese zh|Croatian hr|Czech cs|Danish da|Dutch nl|English en|Esperanto eo
Estonian et|Filipino fil|Finnish fi|French fr|Galician gl|Georgian ka|German de|Greek el
Gujarati gu|Haitian Creole ht|Hausa ha|Hebrew he|Hindi hi|Hungarian hu|Icelandic is|Igbo ig
Indonesian id|Irish ga|Italian it|Japanese ja|Javanese jv|Kannada kn|Kazakh kk|Khmer km|Korean ko
Kurdish ku|Kyrgyz ky|Lao lo|Latin la|Latvian lv|Lithuanian lt|Luxembourgish lb|Macedonian mk
Malagasy mg|Malay ms|Malayalam ml|Maltese mt|Maori mi|Marathi mr|Mongolian mn|Nepali ne
Norwegian no|Odia or|Oriya or|Panjabi pa|Pashto ps|Persian fa|Polish pl|Portuguese pt|Punjabi pa
Romanian ro|Russian ru|Sanskrit sa|Serbian sr|Sindhi sd|Sinhala si|Slovak sk|Slovenian sl
Somali so|Spanish es|Sundanese su|Swahili sw|Swedish sv|Tagalog tl|Tamil ta|Tatar tt|Telugu te
Thai th|Tibetan bo|Turkish tr|Ukrainian uk|Urdu ur|Uyghur ug|Uzbek uz|Vietnamese vi|Welsh cy
Xhosa xh|Yiddish yi|Yoruba yo|Zulu zu
"""

_CODES = {
    entry.rpartition(" ")[0].casefold(): entry.rpartition(" ")[2]
    for entry in _NAMES.strip().replace("\n", "|").split("|")
}


def language_code(name: str) -> str:
    """The code of a language's English name; a name that is not known stays, in lower case."""
    folded = name.strip().casefold()
    return _CODES.get(folded, folded)
