"""Templates and definitions in other words and other languages, written by a generator.

``marks`` takes the code out of a text and puts it back, ``prompts`` asks, ``checks`` and
``languages`` refuse, ``rounds`` does it for all tasks and counts.
"""
