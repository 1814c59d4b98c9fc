"""The task grammar: operation x object x output format, in English, French and Spanish.

>>> tasks = catalogue()
>>> tasks[0].name
'pick.first/animals/plain/en'
"""

from regimen.assets.starter.tasks.grammar import (
    catalogue,
    families,
    family_sample,
    masked_definition,
)
from regimen.assets.starter.tasks.splits import split

__all__ = ["catalogue", "families", "family_sample", "masked_definition", "split"]
