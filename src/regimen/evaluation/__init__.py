"""Evaluation: items asked of systems, scores, and what the scores can and cannot show.

statistics   clustered intervals, paired verdicts, power, McNemar (numpy and scipy only)
ratios       the estimator under them and its cluster-robust error
seeds        intervals that cover other training seeds besides other tasks
power        the smallest resolvable difference of a design, and the tasks that one needs
comparisons  many comparisons at once: adjusted p-values and words
suites       items by suite, how each kind of system is asked, the copy baselines
metrics      what the answers of a suite are scored by
systems      what gives answers: a generator with a way to ask, or a function
changes      did anything change at all, and the four buckets of every item
answers      every answer as a row to store
summaries    arrays of scores to the JSON blocks of ``evaluation.json``
runner       ``evaluate``: all of the above, every answer kept
choices      which choice of an item is the likeliest answer; choice_blocks: over many items
calibration  can probabilities be believed; calibration_blocks: the JSON of it
gate         criteria on an evaluation: pass, fail or cannot tell (criteria, checks, margins)
retention    bits per byte of plain text, before and after
safety       harmful compliance and over-refusal
tables       rows for the console, from the JSON
"""
