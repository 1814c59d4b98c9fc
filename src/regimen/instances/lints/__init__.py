"""Lints: what is likely wrong with a task, its rows, its examples and its templates.

``tasks.lint_task`` reads the rows, ``templates.lint_templates`` renders, ``tasks.lint_tasks``
streams over many tasks; ``findings.LINTS`` is the table of all lints. Import from the modules.
"""
