"""Suites from local files in the formats they are published in, one module per format.

reading   what every format shares: rows, failures, worked examples, prompts
choosing  which of the items are asked, and what is resampled
formats   the visible table of formats, and ``read_suite``

A reader yields items with their lineage (file, row, task, category, family, language) and a
failure for every row that it cannot use; ``read_suite`` counts both.
"""
