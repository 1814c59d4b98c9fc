"""A second solver, independent of the operations' own, to check their oracles against.

It shares nothing with them but the lexicon: it works from a task's tags, its language and the
input, cuts the input up with regular expressions and indices of its own, and lays the answer out
with frames of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from operator import itemgetter

from regimen.assets.starter.lexicon import categories, lexicon, number_words, term, triples
from regimen.assets.starter.tasks.question import Question

Raw = str | list[str]


def solve(tags: Mapping[str, str], language: str, text: str) -> str:
    """The output that the task with these tags and language expects for an input.

    Raises:
        KeyError: an operation or a format that the solver does not know.
    """
    main, asked = text, ""
    mark = re.search(r"\n(?:[?+-] )?([^\n]*)$", text)
    if mark and tags["operation"] not in ("top_key", "bottom_value", "rows"):
        main, asked = text[: mark.start()], mark.group(1)
    question = Question(main, asked, tags["object"], language)
    return lay_out(SOLVERS[tags["operation"]](question), tags["format"], language)


FRAMES = {
    "plain": "{}",
    "quoted": '"{}"',
    "capitals": "{}",
    "brackets": "[{}]",
    "parens": "({})",
    "bullet": "- {}",
    "stop": "{}.",
}
JOINTS = {
    "commas": ("", ", ", ""),
    "lines": ("", "\n", ""),
    "semicolons": ("", "; ", ""),
    "slashes": ("", " / ", ""),
    "list_capitals": ("", ", ", ""),
    "list_brackets": ("[", ", ", "]"),
    "bullets": ("- ", "\n- ", ""),
    "array": ('["', '", "', '"]'),
}


def lay_out(raw: Raw, form: str, language: str) -> str:
    """The raw answer in the named format."""
    if "capitals" in form:
        raw = raw.upper() if isinstance(raw, str) else [part.upper() for part in raw]
    if form in ("label", "list_label"):
        return term("label", language) + (raw if isinstance(raw, str) else ", ".join(raw))
    if form == "sentence":
        return term("frame", language).replace("{answer}", str(raw))
    if form == "json":
        return '{"' + term("key", language) + '": "' + str(raw) + '"}'
    if isinstance(raw, str):
        return FRAMES[form].format(raw)
    if form == "and":
        text = ", ".join(raw)
        return re.sub(r", ([^,]*)$", rf" {term('and', language)} \1", text)
    opening, joint, closing = JOINTS[form]
    return opening + joint.join(raw) + closing


def _yes(question: Question, truth: bool) -> str:
    return term("yes" if truth else "no", question.language)


def _exchange(q: Question) -> list[str]:
    old, new = re.split(r" -> ", q.asked)
    return re.sub(rf"(?<![^ ,]){re.escape(old)}(?![^,])", new, q.main).split(", ")


def _rewrite(q: Question) -> str:
    old, new = re.split(r" -> ", q.asked)
    return re.sub(rf"\b{re.escape(old)}\b", new, q.main)


def _precedes(q: Question) -> str:
    left, right = q.asked.split(", ")
    line = f", {q.main},"
    return _yes(q, line.find(f", {left},") < line.find(f", {right},"))


def _between(q: Question) -> str:
    left, right = map(re.escape, q.asked.split(", "))
    found = re.search(rf"(?:^|, ){left}, ([^,]+), {right}(?:$|,)", q.main)
    assert found is not None
    return found.group(1)


def _by_count(q: Question, times: int) -> str:
    return next(part for part, n in Counter(q.parts).items() if n == times)


def _once_each(q: Question) -> list[str]:
    parts = q.parts
    return [part for i, part in enumerate(parts) if part not in parts[:i]]


def _ranked(q: Question, key: Callable[[str], object]) -> list[str]:
    keyed = [(key(part), part) for part in q.parts]
    return [part for _, part in sorted(keyed, key=itemgetter(0))]


def _spelled(q: Question) -> str:
    words = number_words(q.language)
    return re.sub(r"\d+", lambda found: words[int(found.group())], q.main)


def _figured(q: Question) -> str:
    word, _, rest = q.main.partition(" ")
    return f"{q.number(word)} {rest}".rstrip()


def _moved(q: Question, names: str, step: int) -> str:
    cycle = lexicon(q.language)[names]
    place = [re.search(rf"\b{name}\b", q.main) is not None for name in cycle].index(True)
    return str((cycle[-1:] + cycle + cycle[:1])[place + 1 + step])


def _continued(q: Question, step: int) -> str:
    last = q.parts[-1]
    if last.isdigit():
        return str(int(last) + step)
    if q.object == "letters":
        return chr(ord(last) + step)
    if q.object == "number_words":
        return number_words(q.language)[q.number(last) + step]
    cycle = lexicon(q.language)[q.object]
    doubled = cycle * 2
    return str(doubled[doubled.index(last, 1) + step])


def _cycled(q: Question) -> str:
    parts = q.parts
    period = next(p for p in (2, 3) if parts[p:] == parts[: len(parts) - p])
    return parts[len(parts) % period]


def _group(q: Question, word: str) -> str:
    for name in lexicon(q.language)["pairs"][q.object]:
        if word in categories(q.language)[name]:
            return str(lexicon(q.language)["kinds"][name])
    raise ValueError(f"{word!r} is of neither kind")


def _stranger(q: Question) -> str:
    groups = Counter(_group(q, part) for part in q.parts)
    return next(part for part in q.parts if groups[_group(q, part)] == min(groups.values()))


def _foreign(q: Question, source: int, target: int) -> str:
    return next(row[target] for row in triples()[q.object] if row[source] == q.main)


def _names(q: Question) -> list[str]:
    return re.findall(r"(?:^|\. )(\w+)", q.main)


def _answered(q: Question, wanted: str) -> str:
    """The name or thing of the one sentence that shares the question's other word."""
    frame = lexicon(q.language)["passages"][q.object]["fact"]
    pattern = re.escape(frame).replace(r"\{n\}", r"(\w+)").replace(r"\{x\}", r"(\w+)")
    asked = re.findall(r"\w+", q.asked)
    for name, thing in re.findall(pattern, q.main):
        known, answer = (thing, name) if wanted == "who" else (name, thing)
        if known in asked:
            return str(answer)
    raise ValueError(f"no sentence answers {q.asked!r}")


def _partner(q: Question, asked: int) -> str:
    return {pair[asked]: pair[1 - asked] for pair in q.pairs}[q.asked]


SOLVERS: dict[str, Callable[[Question], Raw]] = {
    "first": lambda q: q.main.partition(", ")[0],
    "second": lambda q: q.main.split(", ", 2)[1],
    "third": lambda q: q.main.split(", ", 3)[2],
    "last": lambda q: q.main.rpartition(", ")[2],
    "next_to_last": lambda q: q.main.rsplit(", ", 2)[1],
    "middle": lambda q: sorted(enumerate(q.parts))[(len(q.parts) - 1) // 2][1],
    "first_two": lambda q: [q.parts[0], q.parts[1]],
    "last_two": lambda q: q.main.rsplit(", ", 2)[1:],
    "all_but_first": lambda q: q.main.split(", ", 1)[1].split(", "),
    "all_but_last": lambda q: q.main.rsplit(", ", 1)[0].split(", "),
    "reverse": lambda q: list(reversed(q.parts)),
    "first_to_end": lambda q: re.sub(r"^([^,]+), (.*)$", r"\2, \1", q.main).split(", "),
    "last_to_front": lambda q: re.sub(r"^(.*), ([^,]+)$", r"\2, \1", q.main).split(", "),
    "swap_ends": lambda q: [q.parts[-1], *q.parts[1:-1], q.parts[0]],
    "after": lambda q: q.parts[q.position + 1],
    "before": lambda q: q.parts[q.position - 1],
    "between": _between,
    "replace": _exchange,
    "append": lambda q: f"{q.main}, {q.asked}".split(", "),
    "prepend": lambda q: f"{q.asked}, {q.main}".split(", "),
    "remove": lambda q: q.parts[: q.position] + q.parts[q.position + 1 :],
    "contains": lambda q: _yes(q, f", {q.asked}," in f", {q.main},"),
    "is_first": lambda q: _yes(q, f"{q.main},".startswith(f"{q.asked},")),
    "comes_before": _precedes,
    "repeated": lambda q: _by_count(q, 2),
    "without_repeats": _once_each,
    "only_once": lambda q: _by_count(q, 1),
    "items": lambda q: str(q.main.count(",") + 1),
    "occurrences": lambda q: str(Counter(q.parts)[q.asked]),
    "words": lambda q: str(q.main.count(" ") + 1),
    "rows": lambda q: str(q.main.count("\n") + 1),
    "largest": lambda q: _ranked(q, q.number)[-1],
    "smallest": lambda q: _ranked(q, q.number)[0],
    "longest": lambda q: _ranked(q, len)[-1],
    "shortest": lambda q: _ranked(q, len)[0],
    "ascending": lambda q: _ranked(q, q.number),
    "descending": lambda q: _ranked(q, q.number)[::-1],
    "alphabetical": lambda q: _ranked(q, itemgetter(0)),
    "alpha_first": lambda q: _ranked(q, itemgetter(0))[0],
    "alpha_last": lambda q: _ranked(q, itemgetter(0))[-1],
    "add": lambda q: str(sum(q.numbers)),
    "subtract": lambda q: str(2 * q.numbers[0] - sum(q.numbers)),
    "one_more": lambda q: str(sum(q.numbers, 1)),
    "double": lambda q: str(sum(q.numbers + q.numbers)),
    "parity": lambda q: term(("even", "odd")[q.numbers[0] & 1], q.language),
    "larger": lambda q: _ranked(q, q.number)[1],
    "more": lambda q: re.sub(r"^\S+ ", "", _ranked(q, q.number)[1]),
    "same": lambda q: term("same" if len(set(q.parts)) == 1 else "different", q.language),
    "to_words": _spelled,
    "to_digits": _figured,
    "ordinal": lambda q: str(["", *lexicon(q.language)["ordinals"]][q.numbers[0]]),
    "next_month": lambda q: _moved(q, "months", 1),
    "previous_month": lambda q: _moved(q, "months", -1),
    "next_day": lambda q: _moved(q, "weekdays", 1),
    "previous_day": lambda q: _moved(q, "weekdays", -1),
    "count_up": lambda q: _continued(q, 1),
    "count_down": lambda q: _continued(q, -1),
    "pattern": _cycled,
    "kind_of": lambda q: _group(q, q.main),
    "odd_one_out": _stranger,
    "member_of_kind": lambda q: next(p for p in q.parts if _group(q, p) == q.asked),
    "english_french": lambda q: _foreign(q, 0, 1),
    "french_english": lambda q: _foreign(q, 1, 0),
    "english_spanish": lambda q: _foreign(q, 0, 2),
    "spanish_english": lambda q: _foreign(q, 2, 0),
    "first_letter": lambda q: q.main[:1],
    "last_letter": lambda q: q.main[-1:],
    "spell": lambda q: re.findall(r"\w", q.main),
    "starting_with": lambda q: next(p for p in q.parts if p.lower().startswith(q.asked)),
    "value_of": lambda q: _partner(q, 0),
    "key_of": lambda q: _partner(q, 1),
    "top_key": lambda q: q.main.partition(":")[0],
    "bottom_value": lambda q: q.main.rpartition(": ")[2],
    "who": lambda q: _answered(q, "who"),
    "what": lambda q: _answered(q, "what"),
    "first_person": lambda q: _names(q)[0],
    "people": _names,
    "field_value": lambda q: _partner(q, 0),
    "field_name": lambda q: _partner(q, 1),
    "last_value": lambda q: q.main.rpartition("=")[2],
    "first_word": lambda q: q.words[0],
    "last_word": lambda q: q.words[-1],
    "word_after": lambda q: dict(zip(q.words, q.words[1:], strict=False))[q.asked],
    "replace_word": _rewrite,
}
