"""The object kinds that English operations are offered on, by the shape of their inputs."""

from __future__ import annotations

WORDS = (
    "animals",
    "fruits",
    "colours",
    "tools",
    "names",
    "foods",
    "clothes",
    "jobs",
    "plants",
    "furniture",
    "places",
    "weather",
    "vehicles",
    "instruments",
    "body",
    "kitchen",
    "toys",
    "nature",
    "materials",
    "school",
)
OTHER_LISTS = ("numbers", "months", "weekdays", "dates", "number_words", "letters")
MEASURES = ("numbers", "weights", "prices", "ages", "lengths")
SENTENCES = tuple(f"{topic}_sentences" for topic in ("kitchen", "farm", "school", "garden", "town"))
TABLES = ("name_pets", "name_colours", "name_jobs", "place_weather", "town_foods", "toy_colours")
PASSAGES = ("pets", "gifts", "meals", "work", "people", "music")
RECORDS = ("person", "pet", "plan", "order", "band")
PAIRS = (
    "animals_tools",
    "fruits_clothes",
    "jobs_vehicles",
    "colours_foods",
    "instruments_places",
    "weather_body",
)
COUNTS = tuple(f"{thing}_counts" for thing in ("animal", "fruit", "toy", "tool", "clothes"))
AMOUNTS = ("numbers", "number_words", "animal_counts", "fruit_counts", "toy_counts")
RUNS = ("numbers", "number_words", "letters", "months", "weekdays")
TRANSLATED = ("animals", "fruits", "foods", "colours", "clothes", "body")


def some_words(start: int, size: int = 5) -> tuple[str, ...]:
    """``size`` word objects from the circle of all, three apart, so that operations overlap."""
    return tuple(WORDS[(start + 3 * i) % len(WORDS)] for i in range(size))


def some_lists(start: int) -> tuple[str, ...]:
    """Five word objects and one other kind of item."""
    return (*some_words(start), OTHER_LISTS[start % len(OTHER_LISTS)])
