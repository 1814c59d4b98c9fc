"""Proposals: from the rows of a table to a task file that says what they seem to ask.

Import from the modules: ``tables`` looks at rows and columns, ``guesses`` decides what the task is
and which column plays which part, ``wording`` writes definitions and templates, ``splits`` finds
rows that are kept for evaluation already, ``writing`` writes the YAML with the reasons as comments.
"""
