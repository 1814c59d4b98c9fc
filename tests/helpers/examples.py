"""How many examples of a property are tried."""

from hypothesis import settings

THOROUGH = 40
"""Examples of a property that asks for no number, with ``--hypothesis-profile=thorough``."""


def examples(number: int) -> settings:
    """So many with the thorough profile, and the profile's share of them otherwise."""
    return settings(max_examples=max(1, number * settings.default.max_examples // THOROUGH))
