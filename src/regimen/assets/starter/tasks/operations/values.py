"""Operations on values: extremes, sorting, numerals, calendar, sums, comparison, sequences."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from regimen.assets.starter.lexicon import lexicon, number_words, term
from regimen.assets.starter.tasks.formats import Answer
from regimen.assets.starter.tasks.operations.base import (
    Solve,
    Write,
    items_of,
    listed,
    query_of,
    value_of,
)
from regimen.assets.starter.tasks.scenes import Scene

LARGEST_SPELLED = 20


def write_unique(key: Callable[[str], object], best: Callable[..., str], low: int = 3) -> Write:
    """Writer of a list whose ``best`` item by ``key`` has no rival with an equal key."""

    def write(rng: Random, scene: Scene) -> str:
        while True:
            items = rng.sample(scene.pool, rng.randint(low, 5))
            keys = [key(item) for item in items]
            if keys.count(key(best(items, key=key))) == 1:
                return listed(items)

    return write


def write_initials(rng: Random, scene: Scene) -> str:
    """A list whose items all begin with different letters."""
    return listed(_with_initials(rng, scene))


def write_asked_initial(rng: Random, scene: Scene) -> str:
    """A list whose items begin with different letters, and one of these letters."""
    items = _with_initials(rng, scene)
    return listed(items, f"? {rng.choice(items)[0].lower()}")


def _with_initials(rng: Random, scene: Scene) -> list[str]:
    wanted = rng.randint(3, 4)
    chosen: dict[str, str] = {}
    while len(chosen) < wanted:
        item = rng.choice(scene.pool)
        chosen.setdefault(item[0], item)
    return list(chosen.values())


def solve_asked_initial(text: str, scene: Scene) -> Answer:
    """The item that begins with the letter asked for."""
    letter = query_of(text)
    return next(item for item in items_of(text) if item[0].lower() == letter)


def by_value(best: Callable[..., str]) -> Solve:
    """The item whose number is best."""
    return lambda text, scene: best(items_of(text), key=lambda item: value_of(item, scene.language))


def by_key(best: Callable[..., str], key: Callable[[str], object]) -> Solve:
    """The item whose key is best."""
    return lambda text, scene: best(items_of(text), key=key)


def sorted_by_value(*, falling: bool) -> Solve:
    """The items in the order of their numbers."""
    return lambda text, scene: tuple(
        sorted(items_of(text), key=lambda x: value_of(x, scene.language), reverse=falling)
    )


def amounts(low: int, high: int, *, count: int = 1, falling: bool = False) -> Write:
    """Writer of ``count`` different amounts from ``low`` to ``high``."""

    def write(rng: Random, scene: Scene) -> str:
        values = rng.sample(range(low, high + 1), count)
        if falling:
            values.sort(reverse=True)
        return listed([scene.amount(rng, value) for value in values])

    return write


def arithmetic(function: Callable[..., int]) -> Solve:
    """A function of the numbers of the input, written in digits."""
    return lambda text, scene: str(
        function(*(value_of(item, scene.language) for item in items_of(text)))
    )


def solve_parity(text: str, scene: Scene) -> Answer:
    """``even`` or ``odd``."""
    name = "odd" if value_of(text, scene.language) % 2 else "even"
    return term(name, scene.language)


def write_kinds_of_amount(rng: Random, scene: Scene) -> str:
    """Two different amounts of two different things."""
    values = rng.sample(range(2, 16), 2)
    nouns = rng.sample(scene.counted, 2)
    return listed([f"{value} {noun}" for value, noun in zip(values, nouns, strict=True)])


def solve_more(text: str, scene: Scene) -> Answer:
    """The noun of the larger amount."""
    most = max(items_of(text), key=lambda item: value_of(item, scene.language))
    return most.split(" ", 1)[1]


def write_two_or_double(rng: Random, scene: Scene) -> str:
    """Two items, equal half of the time."""
    first, second = rng.sample(scene.pool, 2)
    return listed([first, first if rng.random() < 0.5 else second])


def solve_same(text: str, scene: Scene) -> Answer:
    """``same`` or ``different``."""
    first, second = items_of(text)
    return term("same" if first == second else "different", scene.language)


def write_figure(rng: Random, scene: Scene) -> str:
    """A number, or an amount, in digits."""
    if scene.object == "tens":
        return str(rng.choice([v for v in number_words(scene.language) if v and v % 10 == 0]))
    return scene.amount(rng, rng.randint(2, LARGEST_SPELLED))


def write_spelled(rng: Random, scene: Scene) -> str:
    """The same as :func:`write_figure` with the number in words."""
    if scene.object == "tens":
        return number_words(scene.language)[int(write_figure(rng, scene))]
    return scene.amount(rng, rng.randint(2, LARGEST_SPELLED), spelled=True)


def solve_to_words(text: str, scene: Scene) -> Answer:
    """The input with its number in words."""
    figure, *rest = text.split(" ")
    return " ".join([number_words(scene.language)[int(figure)], *rest])


def solve_to_digits(text: str, scene: Scene) -> Answer:
    """The input with its number in digits."""
    _, *rest = text.split(" ")
    return " ".join([str(value_of(text, scene.language)), *rest])


def solve_ordinal(text: str, scene: Scene) -> Answer:
    """``third`` for 3 or three."""
    return str(lexicon(scene.language)["ordinals"][value_of(text, scene.language) - 1])


def write_calendar(cycle: str) -> Write:
    """Writer of a month or weekday (``cycle``), alone or with what stands around it."""

    def write(rng: Random, scene: Scene) -> str:
        name = rng.choice(lexicon(scene.language)[cycle])
        if scene.object == "dates":
            return rng.choice([date for date in scene.pool if date.endswith(f" {name}")])
        if scene.object == "day_times":
            return f"{name} {rng.randint(6, 21)}:{rng.choice(('00', '15', '30', '45'))}"
        if scene.object in ("month_events", "day_events"):
            event = rng.choice(lexicon(scene.language)["events"])
            return f"{event} {'in' if cycle == 'months' else 'on'} {name}"
        return str(name)

    return write


def calendar_step(cycle: str, step: int) -> Solve:
    """The month or weekday ``step`` places from the one in the input, round the cycle."""

    def solve(text: str, scene: Scene) -> Answer:
        names = lexicon(scene.language)[cycle]
        at = next(i for i, name in enumerate(names) if name in text.split(" "))
        return str(names[(at + step) % len(names)])

    return solve


def write_run(step: int) -> Write:
    """Writer of two to four neighbours of the object's scale, upwards or downwards."""

    def write(rng: Random, scene: Scene) -> str:
        items, circular = scene.scale
        length = rng.randint(2, 4)
        at = rng.randrange(len(items) if circular else len(items) - length)
        run = [items[(at + i) % len(items)] for i in range(length + 1)]
        return listed((run if step > 0 else run[::-1])[:length])

    return write


def solve_run(step: int) -> Solve:
    """The neighbour of the last item on the object's scale."""

    def solve(text: str, scene: Scene) -> Answer:
        items, _ = scene.scale
        return items[(items.index(items_of(text)[-1]) + step) % len(items)]

    return solve


def write_pattern(rng: Random, scene: Scene) -> str:
    """A row of period two or three, long enough to show the period."""
    period = rng.randint(2, 3)
    cycle = rng.sample(scene.pool, period)
    return listed([cycle[i % period] for i in range(rng.randint(period + 1, 2 * period))])


def solve_pattern(text: str, scene: Scene) -> Answer:
    """The next item of the shortest period that fits the whole row."""
    items = items_of(text)
    for period in range(1, len(items)):
        if all(items[i] == items[i - period] for i in range(period, len(items))):
            return items[len(items) - period]
    raise ValueError(f"no pattern in {text!r}")
