"""Collections of others: templates of promptsource, lists of patterns, rendered rows of T0.

Import from the modules: ``promptsource``, ``flan`` and ``t0`` read a collection as tasks,
``lookup`` finds the templates of one data set in it, ``option_order`` says whose options may be
shuffled.
"""
