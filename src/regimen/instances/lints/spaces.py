"""The answers that a definition allows, where it names them.

The core needs no language: two or more quoted texts with nothing but commas, slashes or a
conjunction between them. What makes such a list the answers' and not an illustration are words of
the sentence (``_CUES``, ``_EXAMPLES``), which are known in a few languages; without one of them
nothing is read into a list. Whatever else the definition quotes also counts as allowed, so the
space errs to the wide side.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from regimen.instances.words import normalise

LONGEST_ITEM = 40
_QUOTES = ('""', "''", "“”", "‘’", "«»", "„“", "„”", "「」", "『』", "``", "‹›", "＂＂")
_SINGLE = "'‘`"
_ITEM = re.compile(
    "|".join(
        rf"(?<!\w){re.escape(o)}([^{re.escape(o + c)}\n]{{1,{LONGEST_ITEM}}}){re.escape(c)}(?!\w)"
        if o in _SINGLE
        else rf"{re.escape(o)}([^{re.escape(o + c)}\n]{{1,{LONGEST_ITEM}}}){re.escape(c)}"
        for o, c in map(tuple, _QUOTES)
    )
)
_CONJUNCTIONS = (
    r"\b(?:or|and|nor|either|versus|vs|than|o|u|y|e|ou|et|oder|und|of|en|ve|veya|eller|och|lub|albo|"
    r"i|oraz|atau|dan|hoặc|và|или|и|أو|و|या|और)\b|または|あるいは|或者?|还是|和|또는|か|と"
)
_JOINT = re.compile(
    rf"(?:[\s,;/|&()\[\]:.،、，；．·•\-–—]|\d+[.)]|{_CONJUNCTIONS})*", re.IGNORECASE
)
# Words by which a sentence speaks of the answer.
_CUES = re.compile(
    r"\b(?:answers?|respon[ds]\w*|responses?|outputs?|repl(?:y|ies)|labels?|labell?ed|class(?:es)?|"
    r"classif\w+|categor\w+|indicat\w+|return|print|predict|generate|choose|determine|"
    r"respon[dt]\w*|respuestas?|contest\w+|etiquet\w*|clasif\w+|salida|"
    r"répon\w+|étiquet\w*|class\w+|sortie|antwort\w*|ausgabe|klassif\w+|rispo\w+|"
    r"ответ\w*|выв\w*|jawab\w*)\b|回答|答案|输出|標籤|标签|分类|答え|出力|ラベル|जवाब|उत्तर|"
    r"أجب|الإجابة|الجواب|اجب|답",
    re.IGNORECASE,
)
_EXAMPLES = re.compile(
    r"\b(?:e\.\s?g|for example|for instance|such as|examples?|like|say|z\.\s?B|zum Beispiel|"
    r"par exemple|por ejemplo|ad esempio|por exemplo|например|contoh)\b|"
    r"例如|比如|譬如|例えば|たとえば|مثل|مثال|उदाहरण|예를",
    re.IGNORECASE,
)
# "not 'A'", "do not just answer 'A'": what must not be answered.
_NEGATED = re.compile(
    r"(?:\b(?:not|never|nor|nicht|pas)\b|n't\b)(?:\s+\w+){0,3}\s*$|(?:不要?|请勿|لا)\s*\w{0,4}\s*$",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?:\b(?:answer|respond|output|reply|label|write|return|indicate|print|say|generate|give|"
    r"classify|responde|contesta|réponds|répondez|antworte|schreibe|escribe|écris)\b|"
    r"回答|输出|答え|أجب|अन्यथा|otherwise|else|sinon|sonst|否则|وإلا)"
    r"(?:\s*[,:]?\s*\b(?:it|them|this|that|the|only|just|simply|is|be|with|as|by|a|an|your|answer|"
    r"label|output|word|text|con|por|avec|par|mit|als)\b){0,4}\s*[:：]?\s*$",
    re.IGNORECASE,
)
_AROUND = re.compile(r"^[^\w+\-]+|[^\w+%]+$")
_SENTENCES = re.compile(r"(?<=[.!?؟।])(?:\s+|(?=\n))|(?<=[。！？])|\n+")
_PLAIN_ITEM = r"(?:[A-Z][A-Za-z]*|\d{1,2}|[A-Z])"
_PLAIN = re.compile(
    r"\b(?i:answer|respond|output|reply|label|indicate|classify|return|write|print)\b"
    r"(?:\s+(?i:it|them|your|the|answers?|labels?|only|with|as|by|either|using|in|into|one|of|"
    r"words?|letters?|numbers?|a|an|to|response|classes)\b)*\s*:?\s*"
    rf"({_PLAIN_ITEM}(?:\s*[,/]\s*{_PLAIN_ITEM})*\s*,?(?:\s*/\s*|\s+(?i:or)\s+){_PLAIN_ITEM})"
    r"(?![\w'-]|\s+[a-z]+ing\b)"
)
_PAIRS = re.compile(
    r"\b(yes)(?:\s*/\s*|\s+or\s+)(no)\b|\b(true)(?:\s*/\s*|\s+or\s+)(false)\b|"
    r"\b(sí)(?:\s*/\s*|\s+o\s+)(no)\b|\b(oui)(?:\s*/\s*|\s+ou\s+)(non)\b|"
    r"\b(ja)(?:\s*/\s*|\s+oder\s+)(nein)\b|(是)(?:/|或者?|还是)(否|不是)|(对)(?:/|或者?|还是)(错)|"
    r"(نعم)\s+أو\s+(لا)",
    re.IGNORECASE,
)
_PAIR_CUE = re.compile(
    r"\b(?:answers?|respond|outputs?|reply|labels?|indicate|return|responde|contesta|réponds|"
    r"répondez|antworte)\b[^.,;]{0,24}$|(?:回答|输出|أجب)[^。，]{0,8}$",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"\b(?:numbers?|integers?|digits?|ratings?|scores?|scale|answers?|labels?|output|values?)\b"
    r"[^.;\n]{0,40}?\b(?:between|from|of|in the range(?: of)?)\s+(-?\d+)\s*"
    r"(?:and|to|through|-|–|—)\s*(-?\d+)(?![\d.]*\d|\s*(?:words|characters|sentences|letters|%))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Space:
    """The answers that a definition allows.

    Args:
        items: the named answers as they are written, without repetitions.
        low, high: bounds of allowed whole numbers, both inclusive; None where none are named.
        explicit: the answers stand in one list; otherwise they were collected from "answer 'x' if
            ..., otherwise 'y'", and there may be others.
        mentioned: whatever else the definition quotes; no stated answer, and no wrong one either.
        definition: the text itself; an answer that it uses as a word is no wrong one either.
    """

    items: tuple[str, ...]
    low: int | None = None
    high: int | None = None
    explicit: bool = True
    mentioned: tuple[str, ...] = ()
    definition: str = ""

    def allows(self, answer: str) -> bool:
        """Whether an answer, or every part of an enumeration, is in the space.

        Case, white space and punctuation around it do not count.
        """
        known = {bare(item) for item in (*self.items, *self.mentioned)}
        return self._has(answer, known) or (
            len(parts := _parts(answer)) > 1 and all(self._has(part, known) for part in parts)
        )

    def _has(self, text: str, known: set[str]) -> bool:
        plain = bare(text)
        if plain in known:
            return True
        number = re.fullmatch(r"-?\d+(?:\.\d+)?", plain)
        if number is not None and self.low is not None and self.high is not None:
            return self.low <= float(plain) <= self.high
        return len(plain) > 2 and holds(normalise(self.definition), plain)

    def __str__(self) -> str:
        names = [repr(item) for item in self.items]
        if self.low is not None:
            names.append(f"{self.low} to {self.high}")
        return ", ".join(names)


def holds(text: str, part: str) -> bool:
    """Whether a text holds another as whole words; scripts without spaces have no word ends."""
    start = text.find(part)
    while start >= 0:
        end = start + len(part)
        if not (start and _runs_on(text[start - 1], text[start])) and not (
            end < len(text) and _runs_on(text[end - 1], text[end])
        ):
            return True
        start = text.find(part, start + 1)
    return False


def _runs_on(left: str, right: str) -> bool:
    """Whether two neighbouring characters may belong to one word of a script with spaces."""
    if unicodedata.combining(right):
        return True
    return left.isalnum() and right.isalnum() and not (_unspaced(left) or _unspaced(right))


def _unspaced(character: str) -> bool:
    return character > "\u0dff" and not (character.isspace() or "\uac00" <= character <= "\ud7a3")


def bare(text: str) -> str:
    """The text normalised, without punctuation around it; a text of punctuation stays."""
    plain = normalise(text)
    stripped = _AROUND.sub("", plain)
    return stripped or plain


def _parts(answer: str) -> list[str]:
    parts = [p for p in re.split(r"[,;/&|\n،、，；]|\b(?:and|or)\b", answer) if p.strip()]
    return parts if len(parts) > 1 else answer.split()


def stated_space(definition: str) -> Space | None:
    """The answers that a definition names as the only ones; None where it names none.

    A list in a sentence that gives examples is not read, nor one in a sentence that does not speak
    of the answer.
    """
    lists: list[str] = []
    singles: list[str] = []
    refused: list[str] = []
    for sentence in filter(None, _SENTENCES.split(definition)):
        enumerated, alone = _quoted(sentence, refused)
        lists += [*enumerated, *_plain(sentence)]
        singles += alone
    low, high = _range(definition)
    never = set(map(bare, refused))
    lists = [item for item in lists if bare(item) not in never]
    items = _distinct([*lists, *(item for item in singles if bare(item) not in never)])
    if len(items) < 2:
        items = ()
    if not items and low is None:
        return None
    explicit = len(_distinct(lists)) > 1 and not singles
    every = [next(filter(None, match.groups())).strip() for match in _ITEM.finditer(definition)]
    known = {bare(item) for item in items}
    mentioned = _distinct([item for item in every if bare(item) not in known])
    return Space(items, low, high, explicit, mentioned, definition)


def _distinct(items: list[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(bare(item), item.strip())
    return tuple(first.values())


def _quoted(sentence: str, refused: list[str]) -> tuple[list[str], list[str]]:
    """Items of quoted lists, and quoted items that a verb of answering stands before.

    What must not be answered is added to ``refused``.
    """
    matches = list(_ITEM.finditer(sentence))
    lists: list[str] = []
    singles: list[str] = []
    run: list[re.Match[str]] = []
    for match in [*matches, None]:
        joined = (
            run and match is not None and _JOINT.fullmatch(sentence[run[-1].end() : match.start()])
        )
        if run and not joined:
            before = sentence[: run[0].start()]
            texts = [next(filter(None, m.groups())) for m in run]
            if _NEGATED.search(before):
                refused += texts
            elif not _EXAMPLES.search(before):
                if len(run) > 1 and _CUES.search(sentence):
                    lists += texts
                elif _VERB.search(before):
                    singles += texts
            run = []
        if match is not None:
            run.append(match)
    return lists, singles


def _plain(sentence: str) -> list[str]:
    """Items of lists without quotes: capitals and numbers after a verb of answering, yes or no."""
    items: list[str] = []
    for match in _PLAIN.finditer(sentence):
        if not _EXAMPLES.search(sentence[: match.start()]):
            items += re.split(r"\s*[,/]\s*(?:or\s+)?|\s+or\s+", match.group(1), flags=re.IGNORECASE)
    for match in _PAIRS.finditer(sentence):
        before = sentence[: match.start()]
        if _PAIR_CUE.search(before) and not _EXAMPLES.search(before):
            items += [text for text in match.groups() if text]
    return [item for item in items if item]


def _range(definition: str) -> tuple[int | None, int | None]:
    """Bounds of whole numbers, if the definition names one range only."""
    found = {(int(m.group(1)), int(m.group(2))) for m in _RANGE.finditer(definition)}
    if len(found) != 1:
        return None, None
    low, high = next(iter(found))
    return (low, high) if low < high else (None, None)
