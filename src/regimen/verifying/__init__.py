"""Exactness contracts, checked on a user's own model and rows.

Each contract compares what training computes with the same thing computed independently, mostly by
transformers and PEFT alone. ``contracts`` has the visible table; ``stages/verify.py`` makes the
subjects from the settings.
"""
