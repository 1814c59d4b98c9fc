"""The final answer in a text that reasons first: what stands behind the last mark of an answer.

Marks are those of published suites (``####`` of GSM8K, ``\\boxed{}`` of MATH, "So the answer is X."
of BIG-Bench Hard) and how models say the same in other languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from regimen.judging.numbers import Quantity, quantities
from regimen.judging.rules import Rule

_IS = r"(?:\s*[:：=*_]+|\s+(?:would be|is|equals)\b(?!\s+not\b)[:\s*_]*)"
_MARKS = (
    r"####",
    rf"\b(?:final |correct |right |best |my )*(?:answer|solution)(?: choice| option)?{_IS}",
    r"\br[ée]ponse(?: finale| correcte| exacte)*\s*(?:[:：]|\s(?:est|serait)\b(?! pas\b)\s*:?)",
    r"\brespuesta(?: final| correcta)*\s*(?:[:：]|\s(?:es|sería)\b\s*:?)",
    r"\b(?:antwort|lösung)\s*(?:[:：]|\s(?:ist|lautet)\b(?! nicht\b)\s*:?)",
    r"\bresposta(?: final| correta| certa)*\s*(?:[:：]|\s(?:é|seria)\b\s*:?)",
    r"\brisposta(?: finale| corretta| giusta)*\s*(?:[:：]|\s(?:è|sarebbe)\b\s*:?)",
    r"\bantwoord\s*(?:[:：]|\sis\b(?! niet\b)\s*:?)",
    r"\bodpowied[źz]\w*\s*(?:[:：]|\s(?:to|brzmi)\b\s*:?)",
    r"\bответ\w*\s*(?:[:：]|\s?[—–-]\s|\s(?:это|равен)\b\s*:?)",
    r"\bcevap\w*\s*(?:[:：]|\s)",
    r"\bjawaban(?:nya)?\s*(?:[:：]|\s(?:adalah|ialah)\b\s*:?)",
    r"\bjibu(?: sahihi)?\s*(?:[:：]|\sni\b\s*:?)",
    r"(?:đáp án|câu trả lời)(?: đúng| cuối cùng)*\s*(?:[:：]|\slà\b\s*:?)",
    r"(?:答案|解答|正解|答え|回答)(?:应该|應該)?(?:是|为|為|は|：|:)(?!不)",
    r"故选|故選|所以选|所以選|因此选|因此選",
    r"(?:정답|답)(?:은|:|：)",
    r"(?:الإجابة|الاجابة|الجواب)(?: الصحيحة| النهائية| الصحيح| النهائي)*(?: هي| هو| :|:)",
    r"(?:उत्तर|जवाब)(?: है|:)",
    r"(?:คำตอบ)(?:คือ|:)",
)
_MARK = re.compile("|".join(f"(?:{mark})" for mark in _MARKS), re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
# A full stop ends the answer, but not in "3.5", "Mr. Smith" or "J. Smith".
_SENTENCE = re.compile(r"(?<!\b[A-Z])(?<!\b[MDS][rst])(?<!\bMrs)[.!?](?=\s)|[。！？।؟]")
_SAID = ("Ps", "Pe", "Sm", "Sc", "So")
_AROUND = " \t\r\n*_`$"


def after_answer(text: str) -> str | None:
    """What stands behind the last mark of a final answer; None where there is no mark.

    Of a box, its content. Of other marks, the rest of the sentence on that line, or the next line
    that says something, without markup around it and without the full stop.
    """
    composed = unicodedata.normalize("NFC", text)
    marks = [*_MARK.finditer(composed), *_BOX.finditer(composed)]
    for mark in sorted(marks, key=lambda found: found.start(), reverse=True):
        boxed = mark.re is _BOX
        found = _boxed(composed, mark.end()) if boxed else _sentence(composed[mark.end() :])
        if found:
            return found
    return None


def _boxed(text: str, start: int) -> str:
    """Up to the brace that closes the box; empty where none does."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place].strip()
    return ""


def _says(character: str) -> bool:
    """Whether a character can be an answer: brackets and signs too, as in "] } ]", no markup."""
    return character.isalnum() or unicodedata.category(character) in _SAID


def _sentence(text: str) -> str:
    for line in text.splitlines():
        inner = re.sub(r"\\[\[\]()]", " ", line).strip(_AROUND)
        # "The answer is therefore:" introduces what the next line says.
        if any(map(_says, inner)) and inner[-1] not in ":：":
            first = _SENTENCE.split(inner, maxsplit=1)[0]
            return first.strip(_AROUND).removesuffix(".").rstrip(_AROUND) or inner
    return ""


def final(rule: Rule) -> Rule:
    """The rule on final answers: of answer and references, what stands behind the last mark.

    A text without a mark is its own final answer.
    """

    def score(answer: str, references: Sequence[str]) -> float:
        return rule(_final(answer), [_final(text) for text in references])

    return score


def _final(text: str) -> str:
    found = after_answer(text)
    return text if found is None else found


def final_numeric(answer: str, references: Sequence[str]) -> float:
    """1 when the number of the final answer equals a reference's, as ``numeric`` compares them.

    Behind a mark that is the first number after the last equals sign: "The answer is 3 * 6 = 18
    dollars for 2 days." says 18. Without a mark, or without a number behind it, the last number.
    """
    found = _number(answer)
    wanted = [number for text in references if (number := _number(text))]
    return float(any(number.agrees(found) for number in wanted)) if found else 0.0


def _number(text: str) -> Quantity | None:
    marked = after_answer(text)
    behind = quantities(marked.rpartition("=")[2]) if marked else []
    found = behind[:1] or quantities(text)[-1:]
    return found[0] if found else None
