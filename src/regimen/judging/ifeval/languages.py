"""The language of an answer, by the library py3langid: offline, and the same verdict each time.

langdetect, which the stored verdicts seem to come from, draws samples and differs from run to run;
this library shares all but four of 194 of them (docs/ifeval.md).
"""

from __future__ import annotations

from typing import Any

from regimen.errors import MissingExtraError


def language_of(text: str) -> str:
    """ISO 639-1 code of the language; empty where the text has no letter.

    Raises:
        MissingExtraError: the extra ``eval`` is not installed.
    """
    if not any(map(str.isalpha, text)):
        return ""
    # In capitals every language looks like a list of abbreviations.
    code, _ = _library().classify(text.lower() if text.isupper() else text)
    return str(code)


def _library() -> Any:
    try:
        import py3langid
    except ImportError as error:
        raise MissingExtraError(
            "The language of an answer needs the library 'py3langid', which is not installed.",
            slug="missing-library",
            fix="pip install 'regimen[eval]', or leave constraints on the language out.",
        ) from error
    return py3langid
