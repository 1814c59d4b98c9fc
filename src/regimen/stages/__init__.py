"""The verbs: each stage is one function from settings and a run directory to a result.

Stages join the rows: they turn settings into the plain dataclasses of rows 4 to 10, decide by
content whether anything is to do, and write a run directory.
"""
