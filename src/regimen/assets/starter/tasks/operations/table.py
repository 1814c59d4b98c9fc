"""The table of operations: family, inputs, answers and the objects each applies to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from regimen.assets.starter.tasks.operations import lists, texts, values
from regimen.assets.starter.tasks.operations.base import Operation, Solve, Write
from regimen.assets.starter.tasks.operations.objects import (
    AMOUNTS,
    COUNTS,
    MEASURES,
    PAIRS,
    PASSAGES,
    RECORDS,
    RUNS,
    SENTENCES,
    TABLES,
    TRANSLATED,
    some_lists,
    some_words,
)


@dataclass(frozen=True, slots=True)
class Family:
    """Shorthand: the operations of one family share its category and, mostly, its shape."""

    name: str
    category: str
    shape: str = "list"

    def op(
        self,
        name: str,
        answer: str,
        write: Write,
        solve: Solve,
        objects: tuple[str, ...],
        *,
        shape: str = "",
        fr: str = "",
        es: str | None = None,
    ) -> Operation:
        """An operation and its objects: in English, and as words of a string in fr and es.

        ``es`` is the same as ``fr`` unless it is given.
        """
        spanish = fr if es is None else es
        languages = {"en": objects, "fr": tuple(fr.split()), "es": tuple(spanish.split())}
        return Operation(
            name=name,
            family=self.name,
            category=self.category,
            shape=shape or self.shape,
            answer=answer,
            objects={language: names for language, names in languages.items() if names},
            write=write,
            solve=solve,
        )


def _by_position() -> Iterable[Operation]:
    at, item, some = Family("pick", "extraction"), lists.by_items, lists.plain_list
    yield at.op("first", "item", some(3, 6), item(lambda x: x[0]), some_lists(0), fr="animals jobs")
    yield at.op("second", "item", some(3, 6), item(lambda x: x[1]), some_lists(1), fr="foods tools")
    yield at.op("third", "item", some(3, 6), item(lambda x: x[2]), some_lists(2), fr="colours body")
    yield at.op(
        "last", "item", some(3, 6), item(lambda x: x[-1]), some_lists(3), fr="clothes house"
    )
    yield at.op("next_to_last", "item", some(3, 6), item(lambda x: x[-2]), some_lists(4))
    middle = item(lambda x: x[len(x) // 2])
    yield at.op("middle", "item", some(3, 5, 2), middle, some_lists(5))

    cut, rest = Family("slice", "extraction"), lists.to_list
    two = rest(lambda x: x[:2])
    yield cut.op("first_two", "list", some(3, 6), two, some_lists(6), fr="animals nature")
    two = rest(lambda x: x[-2:])
    yield cut.op("last_two", "list", some(3, 6), two, some_lists(7), fr="fruits places")
    tail = rest(lambda x: x[1:])
    yield cut.op("all_but_first", "list", some(3, 5), tail, some_lists(8), fr="foods school")
    head = rest(lambda x: x[:-1])
    yield cut.op("all_but_last", "list", some(3, 5), head, some_lists(9))

    order = Family("order", "ordering")
    back = rest(lambda x: x[::-1])
    yield order.op("reverse", "list", some(3, 5), back, some_lists(10), fr="colours vehicles")
    round_ = rest(lambda x: [*x[1:], x[0]])
    yield order.op("first_to_end", "list", some(3, 5), round_, some_lists(11))
    round_ = rest(lambda x: [x[-1], *x[:-1]])
    yield order.op("last_to_front", "list", some(3, 5), round_, some_lists(12))
    swap = rest(lists.swapped_ends)
    yield order.op("swap_ends", "list", some(3, 5), swap, some_lists(13), fr="clothes family")


def _by_identity() -> Iterable[Operation]:
    near = Family("neighbour", "lookup")
    write, solve = lists.asked_neighbour(1), lists.neighbour(1)
    yield near.op("after", "item", write, solve, some_lists(14), fr="animals tools")
    write, solve = lists.asked_neighbour(-1), lists.neighbour(-1)
    yield near.op("before", "item", write, solve, some_lists(15), fr="fruits vehicles")
    write, solve = lists.write_between, lists.solve_between
    yield near.op("between", "item", write, solve, some_lists(16))

    edit = Family("edit", "transformation")
    write, solve = lists.write_replace, lists.solve_replace
    yield edit.op("replace", "list", write, solve, some_words(17))
    write, solve = lists.write_addition, lists.solve_append
    yield edit.op("append", "list", write, solve, some_words(18), fr="foods jobs")
    write, solve = lists.write_addition, lists.solve_prepend
    yield edit.op("prepend", "list", write, solve, some_words(19))
    write, solve = lists.write_removal, lists.solve_removal
    yield edit.op("remove", "list", write, solve, some_words(0), fr="colours clothes")

    member = Family("member", "verification")
    write, solve = lists.write_membership, lists.verdict(lambda items, query: query in items)
    yield member.op("contains", "verdict", write, solve, some_words(1), fr="animals nature")
    write, solve = lists.write_leading, lists.verdict(lambda items, query: items[0] == query)
    yield member.op("is_first", "verdict", write, solve, some_words(2))
    write, solve = lists.write_two_asked, lists.verdict(lists.in_order)
    yield member.op("comes_before", "verdict", write, solve, some_words(3))

    twice, once = Family("repeat", "extraction"), lists.with_count(1)
    write, solve = lists.write_repeated, lists.with_count(2)
    yield twice.op("repeated", "item", write, solve, some_lists(4), fr="foods places")
    unique = lists.to_list(lambda items: list(dict.fromkeys(items)))
    yield twice.op("without_repeats", "list", lists.write_repeats, unique, some_lists(5))
    yield twice.op("only_once", "item", lists.write_single, once, some_lists(6))


def _counts() -> Iterable[Operation]:
    count = Family("count", "counting")
    write, solve = lists.plain_list(2, 7), lists.by_items(lambda items: str(len(items)))
    yield count.op("items", "number", write, solve, some_lists(7), fr="animals school")
    write, solve = lists.write_occurrences, lists.solve_occurrences
    yield count.op("occurrences", "number", write, solve, some_lists(8))
    write, solve = texts.write_sentence, texts.solve_word_count
    fr = "house_sentences outdoors_sentences"
    yield count.op("words", "number", write, solve, SENTENCES, shape="sentence", fr=fr)
    write, solve = texts.write_table(None, 2, 5), texts.solve_row_count
    yield count.op("rows", "number", write, solve, TABLES, shape="table")


def _by_value() -> Iterable[Operation]:
    best, some = Family("extreme", "comparison"), lists.plain_list(3, 5)
    yield best.op("largest", "item", some, values.by_value(max), MEASURES, fr="numbers")
    yield best.op("smallest", "item", some, values.by_value(min), MEASURES, fr="numbers")
    write, solve = values.write_unique(len, max), values.by_key(max, len)
    yield best.op("longest", "item", write, solve, some_words(7), fr="animals foods")
    write, solve = values.write_unique(len, min), values.by_key(min, len)
    yield best.op("shortest", "item", write, solve, some_words(8), fr="jobs clothes")

    sort, write = Family("sort", "ordering"), values.write_initials
    few = lists.plain_list(3, 4)
    yield sort.op("ascending", "list", few, values.sorted_by_value(falling=False), MEASURES)
    yield sort.op("descending", "list", few, values.sorted_by_value(falling=True), MEASURES)
    alphabetical = lists.to_list(lambda items: sorted(items))
    yield sort.op("alphabetical", "list", write, alphabetical, some_words(9))
    yield sort.op("alpha_first", "item", write, values.by_key(min, str), some_words(10))
    yield sort.op("alpha_last", "item", write, values.by_key(max, str), some_words(11))

    total, low, high = Family("sum", "arithmetic"), 2, 12
    write, solve = values.amounts(low, high, count=2), values.arithmetic(lambda a, b: a + b)
    fr = "numbers number_words"
    yield total.op("add", "number", write, solve, AMOUNTS, fr=fr)
    write = values.amounts(low, high, count=2, falling=True)
    solve = values.arithmetic(lambda a, b: a - b)
    yield total.op("subtract", "number", write, solve, AMOUNTS)
    write, solve = values.amounts(2, 20), values.arithmetic(lambda a: a + 1)
    yield total.op("one_more", "number", write, solve, AMOUNTS, shape="word", fr=fr)
    write, solve = values.amounts(2, 12), values.arithmetic(lambda a: 2 * a)
    yield total.op("double", "number", write, solve, AMOUNTS, shape="word")

    compare, write = Family("compare", "comparison"), values.amounts(2, 20)
    solve = values.solve_parity
    yield compare.op("parity", "verdict", write, solve, AMOUNTS, shape="word")
    write, solve = lists.plain_list(2, 2), values.by_value(max)
    yield compare.op("larger", "item", write, solve, MEASURES)
    write, solve = values.write_kinds_of_amount, values.solve_more
    yield compare.op("more", "word", write, solve, COUNTS)
    write, solve = values.write_two_or_double, values.solve_same
    yield compare.op("same", "verdict", write, solve, some_words(12))


def _numbers_and_dates() -> Iterable[Operation]:
    write: Write
    solve: Solve
    numeral, amounts = Family("numeral", "conversion", "word"), ("numbers", "tens", *COUNTS[:3])
    write, solve = values.write_figure, values.solve_to_words
    yield numeral.op("to_words", "word", write, solve, amounts, fr="numbers tens")
    amounts = ("number_words", "tens", *COUNTS[:3])
    write, solve = values.write_spelled, values.solve_to_digits
    yield numeral.op("to_digits", "number", write, solve, amounts, fr="number_words tens")
    write, solve = values.amounts(1, 20), values.solve_ordinal
    yield numeral.op("ordinal", "word", write, solve, ("numbers", "number_words"))

    calendar = Family("calendar", "continuation", "word")
    for name, cycle, step in (
        ("next_month", "months", 1),
        ("previous_month", "months", -1),
        ("next_day", "weekdays", 1),
        ("previous_day", "weekdays", -1),
    ):
        in_months = cycle == "months"
        around = ("dates", "month_events") if in_months else ("day_times", "day_events")
        fr = f"{cycle} {around[0]}" if step > 0 else ""
        write, solve = values.write_calendar(cycle), values.calendar_step(cycle, step)
        yield calendar.op(name, "word", write, solve, (cycle, *around), fr=fr)

    run, fr = Family("sequence", "continuation"), "months weekdays"
    yield run.op("count_up", "word", values.write_run(1), values.solve_run(1), RUNS, fr=fr)
    yield run.op("count_down", "word", values.write_run(-1), values.solve_run(-1), RUNS)
    write, solve = values.write_pattern, values.solve_pattern
    yield run.op("pattern", "item", write, solve, some_words(13), fr="animals colours")


def _by_meaning() -> Iterable[Operation]:
    write: Write
    solve: Solve
    kind, fr = Family("kind", "classification"), "animals_tools fruits_clothes jobs_vehicles"
    write, solve = texts.write_one_of_pair, texts.solve_kind
    yield kind.op("kind_of", "word", write, solve, PAIRS, shape="word", fr=fr)
    yield kind.op("odd_one_out", "item", texts.write_odd, texts.solve_odd, PAIRS, fr=fr)
    write, solve = texts.write_asked_kind, texts.solve_asked_kind
    yield kind.op("member_of_kind", "item", write, solve, PAIRS)

    translate = Family("translate", "translation", "word")
    for name, source, target, fr, es in (
        ("english_french", "en", "fr", "animals fruits house", ""),
        ("french_english", "fr", "en", "colours foods body", ""),
        ("english_spanish", "en", "es", "", "animals fruits house"),
        ("spanish_english", "es", "en", "", "colours foods body"),
    ):
        write, solve = texts.write_foreign(source), texts.translation(source, target)
        yield translate.op(name, "word", write, solve, TRANSLATED, fr=fr, es=es)

    letter = Family("letter", "spelling", "word")
    write, solve = texts.write_word, texts.letter_at(0)
    yield letter.op("first_letter", "word", write, solve, some_words(14), fr="animals tools")
    write, solve = texts.write_word, texts.letter_at(-1)
    yield letter.op("last_letter", "word", write, solve, some_words(15))
    write, solve = texts.write_short_word, texts.solve_spelling
    yield letter.op("spell", "list", write, solve, some_words(16))
    write, solve = values.write_asked_initial, values.solve_asked_initial
    yield letter.op("starting_with", "item", write, solve, some_words(17), shape="list")


def _on_text() -> Iterable[Operation]:
    write: Write
    solve: Solve
    table, cells = Family("table", "lookup", "table"), texts.write_table
    fr = "name_pets town_foods"
    yield table.op("value_of", "word", cells(0), texts.table_partner(0), TABLES, fr=fr)
    yield table.op("key_of", "word", cells(1), texts.table_partner(1), TABLES, fr=fr)
    yield table.op("top_key", "word", cells(None), texts.table_cell(0, 0), TABLES)
    yield table.op("bottom_value", "word", cells(None), texts.table_cell(-1, 1), TABLES)

    passage, facts = Family("passage", "reading", "passage"), texts.write_passage
    fr = "favourites homes"
    yield passage.op("who", "word", facts("who"), texts.solve_question("who"), PASSAGES, fr=fr)
    yield passage.op("what", "word", facts("what"), texts.solve_question("what"), PASSAGES, fr=fr)
    yield passage.op("first_person", "word", facts(None), texts.solve_first_person, PASSAGES)
    yield passage.op("people", "list", facts(None), texts.solve_people, PASSAGES)

    record, fields = Family("record", "extraction", "record"), texts.write_record
    yield record.op("field_value", "word", fields(0), texts.record_partner(0), RECORDS)
    yield record.op("field_name", "word", fields(1), texts.record_partner(1), RECORDS)
    yield record.op("last_value", "word", fields(None), texts.solve_last_value, RECORDS)

    line, write = Family("sentence", "extraction", "sentence"), texts.write_sentence
    fr = "house_sentences outdoors_sentences"
    yield line.op("first_word", "word", write, texts.sentence_word(0), SENTENCES, fr=fr)
    yield line.op("last_word", "word", write, texts.sentence_word(-1), SENTENCES, fr=fr)
    write, solve = texts.write_asked_word, texts.solve_word_after
    yield line.op("word_after", "word", write, solve, SENTENCES)
    write, solve = texts.write_changed_word, texts.solve_changed_word
    yield line.op("replace_word", "text", write, solve, SENTENCES)


_PARTS = (
    _by_position,
    _by_identity,
    _counts,
    _by_value,
    _numbers_and_dates,
    _by_meaning,
    _on_text,
)

OPERATIONS: dict[str, Operation] = {op.name: op for part in _PARTS for op in part()}


def operations(language: str) -> tuple[Operation, ...]:
    """The operations that have objects in the language, in the order of the table."""
    return tuple(op for op in OPERATIONS.values() if language in op.objects)
