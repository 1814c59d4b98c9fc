"""Row 9: objectives, pure functions of reduced head statistics.

An objective names what it needs from the head reducer, gives the weight of each of its components
before the first backward pass, and returns the sums; only the loop divides. ``OBJECTIVES`` is the
visible table.
"""
