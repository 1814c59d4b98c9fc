"""Stories about habits: the rule stands before the lists, and every result follows it."""

import json
from itertools import islice
from random import Random

import pytest

from regimen.assets.starter.text import LANGUAGES, documents
from regimen.assets.starter.text import rules as habits
from regimen.assets.starter.text.author import Author
from regimen.assets.starter.text.resources import load_language
from regimen.assets.starter.text.rules import MARKS, REPEAT_RULES, RULES, habit, turns

ITEMS = ["pear", "fig", "lemon", "kiwi", "orange"]
EXPECTED = {
    "n_first": ["pear"],
    "n_second": ["fig"],
    "n_third": ["lemon"],
    "n_last": ["orange"],
    "n_beforelast": ["kiwi"],
    "n_middle": ["lemon"],
    "n_firsttwo": ["pear", "fig"],
    "n_lasttwo": ["kiwi", "orange"],
    "n_butfirst": ["fig", "lemon", "kiwi", "orange"],
    "n_butlast": ["pear", "fig", "lemon", "kiwi"],
    "n_ends": ["pear", "orange"],
    "n_reversed": ["orange", "kiwi", "lemon", "fig", "pear"],
    "n_swapends": ["orange", "fig", "lemon", "kiwi", "pear"],
    "n_rotated": ["fig", "lemon", "kiwi", "orange", "pear"],
    "n_tofront": ["orange", "pear", "fig", "lemon", "kiwi"],
    "n_full": ITEMS,
    "n_twice": [item for item in ITEMS for _ in "ab"],
}


def author(language: str = "en", seed: int = 0) -> Author:
    made = Author(load_language(language), Random(seed))
    made.base["kind"] = "mixed"
    return made


@pytest.mark.parametrize("key", EXPECTED)
def test_rules_that_need_nothing_beside_the_list(key: str) -> None:
    assert RULES[key](author(), ITEMS) == (EXPECTED[key], "")


@pytest.mark.parametrize("seed", range(12))
def test_rules_about_a_named_word(seed: int) -> None:
    told = {key: RULES[key](author(seed=seed), ITEMS) for key in set(RULES) - set(EXPECTED)}
    assert set(told) == {
        "n_count", "n_after", "n_before", "n_between", "n_member", "n_leads", "n_ordered",
        "n_without", "n_added", "n_addedstart",
    }  # fmt: skip
    done = {key: value for key, value in told.items() if value is not None}
    assert set(done) == set(told)
    assert done["n_count"][0][0] in ("5", "five")
    (after,), x = done["n_after"]
    assert ITEMS.index(after) == ITEMS.index(x) + 1
    (before,), x = done["n_before"]
    assert ITEMS.index(before) == ITEMS.index(x) - 1
    (middle,), pair = done["n_between"]
    left, right = pair.split(", ")
    assert ITEMS.index(left) + 1 == ITEMS.index(middle) == ITEMS.index(right) - 1
    assert done["n_member"][0] == ["yes" if done["n_member"][1] in ITEMS else "no"]
    assert done["n_leads"][0] == ["yes" if done["n_leads"][1] == ITEMS[0] else "no"]
    places = [ITEMS.index(item) for item in done["n_ordered"][1].split(", ")]
    assert done["n_ordered"][0] == ["yes" if places == sorted(places) else "no"]
    rest, x = done["n_without"]
    assert rest == [item for item in ITEMS if item != x]
    assert x in ITEMS
    longer, x = done["n_added"]
    assert longer == [*ITEMS, x]
    longer, x = done["n_addedstart"]
    assert longer == [x, *ITEMS]
    assert x not in ITEMS


def test_rules_about_words_that_come_twice() -> None:
    items = ["pear", "fig", "pear", "fig", "kiwi"]
    assert REPEAT_RULES["n_unique"](author(), items) == (["pear", "fig", "kiwi"], "")
    assert REPEAT_RULES["n_repeated"](author(), items) == (["pear", "fig"], "")
    assert REPEAT_RULES["n_single"](author(), items) == (["kiwi"], "")


def test_a_list_too_short_for_a_rule_is_left_out() -> None:
    assert RULES["n_third"](author(), ["pear", "fig"]) is None
    assert RULES["n_middle"](author(), ["pear", "fig"]) is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", EXPECTED)
def test_the_result_of_every_list_follows_the_rule_at_the_head(
    key: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(habits, "RULES", {key: RULES[key]})
    monkeypatch.setattr(habits, "REPEAT_RULES", {key: RULES[key]})
    monkeypatch.setattr(habits, "_with_repeats", lambda author, key, items: items)
    monkeypatch.setattr(habits, "_LAYOUTS", (habits._under,))
    monkeypatch.setattr(habits._Form, "write", lambda self, result: ", ".join(result))
    spoken = load_language(language)
    names = [
        phrase.text.format(e=one, es=several)
        for phrase in spoken.phrases[key]
        for one in spoken.terms["element"]
        for several in spoken.terms["elements"]
    ]
    rounds = 0
    for seed in range(15):
        head, *parts = habit(author(language, seed), lambda n: ITEMS[:n])
        assert any(name in head for name in names)
        for part in parts:
            if part is None:
                continue
            items, result = part.strip().split("\n")
            expected = RULES[key](author(), items.split(", "))
            assert expected is not None
            assert result == ", ".join(expected[0])
            rounds += 1
    assert rounds > 15


EXAMPLES = (["___"], ["a", "b", "c"])


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("seed", range(60))
def test_the_form_that_is_named_is_the_form_that_is_used(seed: int, example: list[str]) -> None:
    made = author(seed=seed)
    form = habits._Form(made, example)
    one, two = form.write(["pear"]), form.write(["pear", "fig"])
    assert "pear" in one.lower()
    assert "fig" in two.lower()
    if not form.named:
        assert (one, two) == ("pear", "pear, fig")
    elif form.pattern:
        assert form.pattern == f"`{form.write(example)}`"
        assert form.pattern in form.named
    elif "JSON" in form.named:
        assert json.loads(one)
        assert json.loads(two)
    elif form.label:
        assert one == f"{form.label}: pear"
    elif form.last:
        assert (one, two) == ("pear", "pear and fig")
    else:
        named = {style.key for style in (form.single, form.list)}
        assert any(form.named in made.terms[key] for key in named)


def test_forms_are_named_in_words_and_by_patterns() -> None:
    forms = [habits._Form(author(seed=seed), EXAMPLES[1]) for seed in range(200)]
    assert 20 < sum(bool(form.pattern) for form in forms) < 100
    assert any(form.last for form in forms)


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_hold_few_lists_so_that_the_rule_matters(language: str) -> None:
    for page in islice(documents(1, language, ["habits"]), 200):
        assert page.count("\n\n") <= 5


def test_what_is_named_beside_a_list_stands_apart() -> None:
    assert len({mark.format(x="x") for mark in MARKS}) == len(MARKS)
    assert all("?" not in mark for mark in MARKS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_list_of_a_page_of_turns_has_a_rule_of_its_own_before_it(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(habits, "_TURNS", (habits._rule_over,))
    monkeypatch.setattr(habits._Form, "write", lambda self, result: ", ".join(result))
    spoken = load_language(language)
    keys = [key for key in EXPECTED if key != "n_count"]
    monkeypatch.setattr(habits, "RULES", {key: RULES[key] for key in keys})
    nouns = [(e, es) for e in spoken.terms["element"] for es in spoken.terms["elements"]]
    told: dict[str, set[str]] = {}
    for key in keys:
        for phrase in spoken.phrases[key]:
            for e, es in nouns:
                told.setdefault(phrase.text.format(e=e, es=es).lower(), set()).add(key)
    seen: set[str] = set()
    for seed in range(8):
        blocks = [b for b in islice(turns(author(language, seed), lambda n: ITEMS[:n]), 12) if b]
        for block in blocks:
            rule, items, result = block.strip().split("\n")
            fits = {k for text, ks in told.items() if rule.lower().startswith(text) for k in ks}
            made = [RULES[key](author(), items.split(", ")) for key in fits]
            assert result in [", ".join(done[0]) for done in made if done]
            seen.add(rule)
        assert len({block.split("\n")[0] for block in blocks}) > 3
    assert len(seen) > 40
