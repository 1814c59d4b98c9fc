"""The sections of the page, one function each: ``RunData`` in, a section or None out.

overview   verdict, limits, what deserves a look, what is missing; did anything change
systems    systems side by side: per suite, per family, per language
answers    four buckets and a sample of answers
data       ledger flow, removed rows, composition, lengths
training   loss and rewards over steps; rendered samples with masks
judged     a judge's win rates, its biases, its agreement with people
behaviour  safety, and plain text retained
closing    settings, speed and memory, how to reproduce
"""
