"""The products of a build on their way to disk: duplicates, accounts, counts, the file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from regimen.curation.balance import PositionBalance
from regimen.curation.card import COLUMNS, CardCounts
from regimen.curation.filters import ExactDuplicates
from regimen.curation.ledger import Ledger, Step
from regimen.stages.producing import Plan, Product, step_names
from regimen.table_files import TableWriter
from regimen.tables import instances_schema, table_to_instances

if TYPE_CHECKING:
    import pyarrow as pa


class Written:
    """Takes products in order, and leaves ``instances.parquet`` and the accounts of every step.

    Attributes:
        card: counts of what was written.
        positions: where the right option stood.
    """

    def __init__(self, path: Path, plan: Plan, ledger: Ledger, duplicates: bool) -> None:
        names = (*step_names(plan), *(("duplicates",) if duplicates else ()))
        self.card, self.positions = CardCounts(), PositionBalance()
        self._path, self._ledger, self._names = path, ledger, names
        self._seen = ExactDuplicates() if duplicates else None
        self._stack = ExitStack()
        self._steps: dict[str, Step] = {}

    def __enter__(self) -> Self:
        for name in self._names:
            self._steps[name] = self._stack.enter_context(self._ledger.step(name))
        writer = TableWriter(self._path, instances_schema())
        self._writer = self._stack.enter_context(writer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def rows(self) -> int:
        """Instances written."""
        return self._writer.rows

    def add(self, product: Product) -> None:
        """Account for a product and write what is left of it."""
        for outcome in product.outcomes:
            self._steps[outcome.step].take(outcome)
        table, prompts, answers = product.table, product.prompts, product.answers
        if self._seen is not None:
            kept = self._first(table)
            if len(kept) < table.num_rows:
                prompts, answers = [prompts[i] for i in kept], [answers[i] for i in kept]
                table = table.take(kept) if kept else table.slice(0, 0)
        columns = {name: table[name].to_pylist() for name in COLUMNS}
        self.card.add(columns, prompts, answers)
        self.positions.add(columns["task"], table["verdicts"].to_pylist())
        self._writer.write(table)

    def _first(self, table: pa.Table) -> list[int]:
        """Places of the rows that are no duplicates; the others go to the ledger."""
        assert self._seen is not None
        step = self._steps["duplicates"]
        columns = [
            table[name].to_pylist() for name in ("content_id", "instance_id", "source", "row")
        ]
        reasons = [self._seen.reason(*row) for row in zip(*columns, strict=True)]
        kept = [place for place, reason in enumerate(reasons) if reason is None]
        gone = [place for place, reason in enumerate(reasons) if reason is not None]
        step.enter(len(reasons))
        step.keep(len(kept))
        removed = table_to_instances(table.take(gone)) if gone else ()
        for place, instance in zip(gone, removed, strict=True):
            slug, _, detail = str(reasons[place]).partition(": ")
            step.remove(instance, slug, detail)
        return kept
