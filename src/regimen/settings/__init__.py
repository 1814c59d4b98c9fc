"""The settings of every stage: one file per stage, one model per section.

Import from the modules (``regimen.settings.loading``), not from here: this package loads nothing
by itself, so that ``yaml12`` can be used where pydantic is not installed.
"""
