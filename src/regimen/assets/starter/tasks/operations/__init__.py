"""The operations of the grammar, in the order of their families."""

from regimen.assets.starter.tasks.operations.base import Operation
from regimen.assets.starter.tasks.operations.table import OPERATIONS, operations

__all__ = ["OPERATIONS", "Operation", "operations"]
