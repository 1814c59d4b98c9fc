"""Constraints on the form of an answer: lists, sections, marks, titles, JSON, cases, marks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from regimen.judging.ifeval import units
from regimen.judging.ifeval.arguments import Arguments
from regimen.judging.ifeval.languages import language_of
from regimen.judging.rules import json_valid

_BULLET = re.compile(r"(?m)^[^\S\n]*(?:\*[^*\n].*|-.*)$")
_LIGHT = re.compile(r"\*([^\n*]*)\*")
_BOLD = re.compile(r"\*\*([^\n*]*)\*\*")
LINE_START = r"(?m:^)(?:[^\S\n]|[*_#>(\[])*"
"""The beginning of a line, with the marks of Markdown that may stand there."""
_FENCE = re.compile(r"(?is)^```(?:json)?(.*?)(?:```)?$")


def number_placeholders(answer: str, arguments: Arguments) -> bool:
    """At least so many texts in square brackets."""
    return arguments.reaches(sum(map(_bracketed, answer.split("\n"))), "num_placeholders")


def _bracketed(line: str) -> int:
    """Number of texts from a bracket to the next that closes one.

    Looked for by hand: a pattern takes quadratic time where brackets are not closed.
    """
    found, start = 0, line.find("[")
    while start >= 0 and (end := line.find("]", start)) >= 0:
        found, start = found + 1, line.find("[", end)
    return found


def postscript(answer: str, arguments: Arguments) -> bool:
    """The marker of a postscript occurs, in any case; a space may follow its full stops."""
    return marked(answer, arguments.text("postscript_marker")) is not None


def postscript_line(answer: str, arguments: Arguments) -> bool:
    """A line begins with the marker of a postscript, as a word, in any case."""
    marker = arguments.text("postscript_marker")
    return marked(answer, marker, LINE_START, r"(?!\w)") is not None


def marked(answer: str, marker: str, before: str = "", after: str = "") -> re.Match[str] | None:
    """Where the marker of a postscript occurs between two patterns."""
    body = "".join(r"\.\s?" if sign == "." else re.escape(sign) for sign in marker.strip())
    return re.search(f"(?i){before}{body}{after}", answer)


def number_bullet_lists(answer: str, arguments: Arguments) -> bool:
    """Exactly so many lines that begin with ``*`` or ``-``."""
    return bullets(answer) == arguments.number("num_bullets")


def bullets(answer: str) -> int:
    """Number of lines that begin with ``*`` or ``-``."""
    return len(_BULLET.findall(answer))


def number_highlighted_sections(answer: str, arguments: Arguments) -> bool:
    """At least so many texts within a line between ``*`` or ``**``."""
    found = [*_LIGHT.findall(answer), *_BOLD.findall(answer)]
    return arguments.reaches(sum(bool(text.strip()) for text in found), "num_highlights")


def multiple_sections(answer: str, arguments: Arguments) -> bool:
    """At least so many sections that begin with the splitter and a number."""
    splitter = re.escape(arguments.text("section_spliter"))
    return arguments.reaches(len(re.findall(rf"{splitter}\s?\d+", answer)), "num_sections")


def title(answer: str, arguments: Arguments) -> bool:
    """A title in double angular brackets, ``<<title>>``."""
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].strip("<>").strip():
            return True
    return False


def title_in_hashes(answer: str, arguments: Arguments) -> bool:
    """A title in double hashes, ``##title##``."""
    return any(text.strip() for text in re.findall(r"##([^\n#]+)##", answer))


def json_format(answer: str, arguments: Arguments) -> bool:
    """The whole answer is one JSON value, in a fence of Markdown or not."""
    fenced = _FENCE.match(answer.strip())
    return json_valid(fenced.group(1) if fenced else answer) == 1.0


def constrained_response(answer: str, arguments: Arguments) -> bool:
    """One of "My answer is yes.", "no." and "maybe." occurs."""
    return re.search(r"My answer is (?:yes|no|maybe)\.", answer) is not None


def constrained_response_es(answer: str, arguments: Arguments) -> bool:
    """One of "Sí.", "No." and "Quizás." occurs."""
    return re.search(r"(?<!\w)(?:Sí|No|Quizás)\.", answer) is not None


def constrained_response_fr(answer: str, arguments: Arguments) -> bool:
    """One of "Oui.", "Non." and "Peut-être." occurs."""
    return re.search(r"(?<!\w)(?:Oui|Non|Peut-être)\.", answer) is not None


def repeat_prompt(answer: str, arguments: Arguments) -> bool:
    """The answer begins with the prompt, in any case."""
    prompt = arguments.text("prompt_to_repeat").strip().lower()
    return answer.strip().lower().startswith(prompt)


def two_responses(answer: str, arguments: Arguments) -> bool:
    """Two different responses with ``******`` between them."""
    parts = units.parted(answer, r"\*{6}")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def end_checker(answer: str, arguments: Arguments) -> bool:
    """The answer ends with the phrase, in any case; double quotes around it do not count."""
    phrase = arguments.text("end_phrase").strip().lower()
    return answer.strip().strip('"').lower().endswith(phrase)


def quotation(answer: str, arguments: Arguments) -> bool:
    """The whole answer stands in straight double quotes."""
    return wrapped(answer, ('""',))


def quotation_marks(answer: str, arguments: Arguments) -> bool:
    """The whole answer stands in double quotes, straight, curly or angular."""
    return wrapped(answer, ('""', "“”", "«»"))


def wrapped(answer: str, pairs: Sequence[str]) -> bool:
    """Whether the answer stands between the two characters of one of the pairs."""
    text = answer.strip()
    return len(text) > 1 and any(text[0] == pair[0] and text[-1] == pair[1] for pair in pairs)


def no_comma(answer: str, arguments: Arguments) -> bool:
    """No comma."""
    return "," not in answer


def exclamation_marks(answer: str, arguments: Arguments) -> bool:
    """One exclamation or more, with both its marks."""
    return re.search(r"¡[^¡!]+!", answer) is not None


def question_marks(answer: str, arguments: Arguments) -> bool:
    """One question or more, with both its marks."""
    return re.search(r"¿[^¿?]+\?", answer) is not None


def capital_word_frequency(answer: str, arguments: Arguments) -> bool:
    """As many words in capitals as asked."""
    found = len(units.capital_words(answer))
    return arguments.holds(found, "capital_frequency", "capital_relation")


def english_capital(answer: str, arguments: Arguments) -> bool:
    """English, without small letters."""
    return language_of(answer) == "en" and answer.isupper()


def english_lowercase(answer: str, arguments: Arguments) -> bool:
    """English, without capitals."""
    return language_of(answer) == "en" and answer.islower()


def french_capital(answer: str, arguments: Arguments) -> bool:
    """French, without small letters."""
    return language_of(answer) == "fr" and answer.isupper()


def french_lowercase(answer: str, arguments: Arguments) -> bool:
    """French, without capitals."""
    return language_of(answer) == "fr" and answer.islower()


def spanish_capital(answer: str, arguments: Arguments) -> bool:
    """Spanish, without small letters."""
    return language_of(answer) == "es" and answer.isupper()


def spanish_lowercase(answer: str, arguments: Arguments) -> bool:
    """Spanish, without capitals."""
    return language_of(answer) == "es" and answer.islower()
