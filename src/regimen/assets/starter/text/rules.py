"""Habits: what somebody always takes from a list is told first, and then lists come and results.

Elsewhere a statement names its result right away; here the model has to carry a rule, and the form
of the result, from the head of the page to each list that follows. It is told as a story about
people, never as an order to the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from .author import Author
from .lists import WHOLE, Items, fresh_item, unique
from .styles import LIST_STYLES, SINGLE_STYLES, Style

Rule = Callable[[Author, Items], tuple[Items, str] | None]
"""Items to the result and what is named beside the list; None where the list does not allow it."""

MARKS = ("; {x}", "\n* {x}", " | {x}", " ({x})", " / {x}", "\n> {x}", "\n+ {x}", " // {x}")


def _plain(make: Callable[[Items], Items], least: int = 2) -> Rule:
    def rule(_author: Author, items: Items) -> tuple[Items, str] | None:
        return (make(items), "") if len(items) >= least else None

    return rule


def _middle(_author: Author, items: Items) -> tuple[Items, str] | None:
    half, odd = divmod(len(items), 2)
    return ([items[half]], "") if odd and half else None


def _count(author: Author, items: Items) -> tuple[Items, str]:
    return [author.number(len(items))], ""


def _neighbour(step: int, author: Author, items: Items) -> tuple[Items, str]:
    i = author.below(len(items) - 1) + (step < 0)
    return [items[i + step]], items[i]


def _between(author: Author, items: Items) -> tuple[Items, str] | None:
    if len(items) < 3:
        return None
    i = author.below(len(items) - 2)
    return [items[i + 1]], f"{items[i]}, {items[i + 2]}"


def _verdict(author: Author, truth: bool, x: str) -> tuple[Items, str]:
    return [author.terms["yes" if truth else "no"][0]], x


def _member(author: Author, items: Items) -> tuple[Items, str]:
    there = author.random() < 0.5
    x = author.pick(items) if there else fresh_item(author, author.base["kind"], items)
    return _verdict(author, there, x)


def _leads(author: Author, items: Items) -> tuple[Items, str]:
    leads = author.random() < 0.5
    return _verdict(author, leads, items[0] if leads else author.pick(items[1:]))


def _ordered(author: Author, items: Items) -> tuple[Items, str]:
    kept = author.random() < 0.5
    i, j = sorted(author.rng.sample(range(len(items)), 2))
    pair = (items[i], items[j]) if kept else (items[j], items[i])
    return _verdict(author, kept, ", ".join(pair))


def _without(author: Author, items: Items) -> tuple[Items, str] | None:
    x = author.pick(items)
    return ([item for item in items if item != x], x) if len(items) > 2 else None


def _added(start: bool, author: Author, items: Items) -> tuple[Items, str]:
    x = fresh_item(author, author.base["kind"], items)
    return ([x, *items] if start else [*items, x]), x


RULES: dict[str, Rule] = {
    "n_first": _plain(*WHOLE["first"]),
    "n_second": _plain(lambda items: items[1:2]),
    "n_third": _plain(lambda items: items[2:3], 3),
    "n_last": _plain(*WHOLE["last"]),
    "n_beforelast": _plain(*WHOLE["beforelast"]),
    "n_middle": _middle,
    "n_firsttwo": _plain(*WHOLE["firsttwo"]),
    "n_lasttwo": _plain(*WHOLE["lasttwo"]),
    "n_butfirst": _plain(*WHOLE["butfirst"]),
    "n_butlast": _plain(*WHOLE["butlast"]),
    "n_ends": _plain(*WHOLE["ends"]),
    "n_reversed": _plain(*WHOLE["reversed"]),
    "n_swapends": _plain(*WHOLE["swapends"]),
    "n_rotated": _plain(*WHOLE["rotated"]),
    "n_tofront": _plain(lambda items: [items[-1], *items[:-1]]),
    "n_full": _plain(*WHOLE["full"]),
    "n_twice": _plain(*WHOLE["twice"]),
    "n_count": _count,
    "n_after": partial(_neighbour, 1),
    "n_before": partial(_neighbour, -1),
    "n_between": _between,
    "n_member": _member,
    "n_leads": _leads,
    "n_ordered": _ordered,
    "n_without": _without,
    "n_added": partial(_added, False),
    "n_addedstart": partial(_added, True),
}

# Rules about lists in which a word comes twice.
REPEAT_RULES: dict[str, Rule] = {
    "n_unique": _plain(*WHOLE["unique"]),
    "n_repeated": _plain(lambda items: [x for x in unique(items) if items.count(x) > 1]),
    "n_single": _plain(lambda items: [x for x in items if items.count(x) == 1]),
}


OF_ONE = frozenset(
    {"n_first", "n_second", "n_third", "n_last", "n_beforelast", "n_middle", "n_count"}
    | {"n_after", "n_before", "n_between", "n_member", "n_leads", "n_ordered"}
    | {"n_repeated", "n_single"}
)
"""Rules whose result is a single item."""


def habit(author: Author, items_of: Callable[[int], Items]) -> Iterator[str | None]:
    """A rule, perhaps a form, and several lists with what the rule makes of them.

    ``items_of`` gives distinct items of the page's kind.
    """
    rules = REPEAT_RULES if author.random() < 0.12 else RULES
    key = author.pick(tuple(rules))
    form = _Form(author, _example(key))
    author.base["np"] = _told(author, key)
    told = [author.say("habit")]
    if form.named:
        told.append(author.say("habitform", f=form.named))
        if author.random() < 0.4:
            told.reverse()
    yield " ".join(told) + "\n"
    layout = author.pick(_LAYOUTS)
    mark = author.pick(MARKS)
    # Few lists: with many, the results above would say the rule, and nobody would read it.
    for _ in range(2 + author.below(4)):
        items = items_of(2 + author.below(5))
        if rules is REPEAT_RULES:
            items = _with_repeats(author, key, items)
        done = rules[key](author, items)
        if done is None:
            yield None
            continue
        result, x = done
        shown = ", ".join(items) + (mark.format(x=x) if x else "")
        yield layout(author, shown, form.write(result))


def turns(author: Author, items_of: Callable[[int], Items]) -> Iterator[str | None]:
    """A rule, a list and the result, again and again, each time another rule.

    What came before never says what the next rule makes, so every result has to be found from the
    rule in front of its list. Now and then one list serves the whole page.
    """
    layout, mark = author.pick(_TURNS), author.pick(MARKS)
    plain, one_list = author.random() < 0.4, author.random() < 0.4
    items = items_of(3 + author.below(4))
    while True:
        if not one_list:
            items = items_of(2 + author.below(5))
        key = author.pick(tuple(RULES))
        done = RULES[key](author, items)
        if done is None:
            yield None
            continue
        result, x = done
        form = _Form(author, _example(key))
        shown = ", ".join(items) + (mark.format(x=x) if x else "")
        author.base["np"] = _told(author, key)
        if plain or not form.named:
            yield layout(author, shown, ", ".join(result))
            continue
        author.base["np"] += f", {form.named}"
        yield layout(author, shown, form.write(result))


def _told(author: Author, key: str) -> str:
    """The rule in words."""
    nouns = {"e": author.pick(author.terms["element"]), "es": author.pick(author.terms["elements"])}
    return author.pick(author.phrases[key]).text.format_map(nouns)


def _example(key: str) -> Items:
    """What a form is shown with where its pattern is given."""
    return ["___"] if key in OF_ONE else ["a", "b", "c"]


def _with_repeats(author: Author, key: str, items: Items) -> Items:
    """One word twice; where the single one is wanted, all but one twice."""
    again = items[1:] if key == "n_single" else [author.pick(items)]
    mixed = [*items, *again]
    author.rng.shuffle(mixed)
    return mixed


class _Form:
    """How a page writes all its results; named at its head unless it is the plain one.

    It is named in words (``in square brackets``) or shown by a pattern made of ``example``
    (``like `[a, b, c]` ``).
    """

    def __init__(self, author: Author, example: Items) -> None:
        self.single, self.list = author.pick(SINGLE_STYLES), author.pick(LIST_STYLES)
        self.key, self.label, self.last = "", "", ""
        self.pattern = ""
        u = author.random()
        if u < 0.18:
            self.named = ""
            return
        if u < 0.34:
            self.key = author.pick(author.terms["keys"])
            self.named = author.pick(author.terms["fmt_json"])
        elif u < 0.48:
            self.label = author.pick(author.terms["labels"])
            self.named = author.pick(author.terms["fmt_label"])
        elif u < 0.55 and len(example) > 1:
            self.last = f" {author.terms['and'][0]} "
            self.named = author.pick(author.terms["fmt_and"])
        else:
            # one name for both: a page whose results are one item or several keeps its form
            same = [s for s in LIST_STYLES if s.key == self.single.key]
            self.list = author.pick(same) if same else self.list
            self.named = author.pick(author.terms[self.single.key if same else self.list.key])
            self.single = self.single if same else _alone(self.list)
        pattern = self.write(example)
        if "\n" not in pattern and author.random() < 0.35:
            self.pattern = f"`{pattern}`"
            self.named = author.pick(author.terms["pattern"]).format(f=self.pattern)

    def write(self, result: Items) -> str:
        """The result in this page's form."""
        if self.key:
            value = f'"{result[0]}"' if len(result) == 1 else '["' + '", "'.join(result) + '"]'
            return f'{{"{self.key}": {value}}}'
        if self.label:
            return f"{self.label}: {', '.join(result)}"
        if self.last and len(result) > 1:
            return ", ".join(result[:-1]) + self.last + result[-1]
        if self.last or not self.named:
            return ", ".join(result)
        return (self.single if len(result) == 1 else self.list).write(result)


def _alone(style: Style) -> Style:
    return Style(style.key, lambda items: items[0], style.block)


def _under(_author: Author, items: str, result: str) -> str:
    return f"{items}\n{result}\n\n"


def _named(author: Author, items: str, result: str) -> str:
    return f"{items}\n{author.who}{author.colon}\n{result}\n\n"


def _first_named(author: Author, items: str, result: str) -> str:
    return f"{author.base['L'].capitalize()}{author.colon} {items}\n{result}\n\n"


def _said_again(author: Author, items: str, result: str) -> str:
    """The rule once more, right before what it makes: easier, and a step towards the others."""
    gap = "\n" if "\n" in result or author.random() < 0.4 else " "
    return f"{items}\n{_rule(author)}{author.colon}{gap}{result}\n\n"


def _rule(author: Author) -> str:
    rule = author.base["np"]
    return rule[0].upper() + rule[1:]


def _rule_over(author: Author, items: str, result: str) -> str:
    return f"{_rule(author)}\n{items}\n{result}\n\n"


def _rule_beside(author: Author, items: str, result: str) -> str:
    return f"{_rule(author)}{author.colon} {items}\n{result}\n\n"


def _rule_named(author: Author, items: str, result: str) -> str:
    named, reply = author.base["L"].capitalize() + author.colon, author.who + author.colon
    return f"{_rule(author)}.\n{named} {items}\n{reply} {result}\n\n"


def _either_way(author: Author, items: str, result: str) -> str:
    return author.pick((_rule_over, _rule_beside, _said_again))(author, items, result)


_LAYOUTS = (_under, _under, _named, _first_named, _said_again, _said_again, _said_again)
_TURNS = (_rule_over, _rule_beside, _rule_named, _either_way, _either_way)
