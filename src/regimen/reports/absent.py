"""What a run has not, and the command that makes it."""

from __future__ import annotations

from regimen.reports.rundata import RunData


def missing(run: RunData) -> list[tuple[str, str]]:
    """Parts that this run has not, each with how to get it."""
    found = run.evaluation
    parts = [
        (not run.ledger, "the ledger of removed rows", "build"),
        (run.card is None, "the data card", "build"),
        (not run.tunings, "tuning curves", "tune"),
        (not run.samples, "rendered samples with their masks", "tune"),
        ("align" not in run.training, "alignment", "align"),
        (found is None, "any evaluation", "evaluate"),
        (found is not None and not found.changed, "whether anything changed", "evaluate"),
        (found is not None and run.answers is None, "the answers themselves", "evaluate"),
        (found is not None and not found.safety, "safety", "evaluate"),
        (found is not None and not found.retention, "retention of plain text", "evaluate"),
        (not run.settings, "the resolved settings", "run"),
        (not run.manifests, "manifests (no stage is marked as finished)", "run"),
    ]
    return [(name, f"regimen {verb}") for absent, name, verb in parts if absent]
