"""Judging: scorers and judges as plain callables. Nothing here is trained."""
