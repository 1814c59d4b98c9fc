"""Conversations that ``align`` replays beside preferences, drawn from instances; none is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regimen import console
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.records import Instance
from regimen.runs import Run
from regimen.settings.align import AlignReplaySettings, AlignSettings
from regimen.stages.rows import account, conversations, instances_table, too_short
from regimen.stages.tune import instances_path
from regimen.tables import table_to_instances
from regimen.tokens.rendering import Rendered, Renderer

PIECE = 1024
"""Instances that are read at once."""


def replay_source(replay: AlignReplaySettings, data: Path | None) -> Path:
    """The file of instances; that of the pipeline's build, ``data``, when the settings name none.

    Raises:
        DataError: there is none.
    """
    source = instances_path(replay.data or data)
    if source is None or not source.is_file():
        raise DataError(
            "There are no instances to replay.",
            slug="no-replay",
            got=str(source),
            expected="a directory of `build`, or a file of instances",
            fix="Name what the model was tuned on with align.replay.data, or remove align.replay.",
        )
    return source


def replayed_conversations(
    section: AlignSettings,
    renderer: Renderer,
    run: Run,
    ledger: Ledger,
    source: Path,
    *,
    tokens: int,
    seed: int,
) -> tuple[list[Rendered], dict[str, Any]]:
    """Rows of instances, drawn by the seed until they have the share of all tokens.

    Args:
        section: with ``replay``.
        renderer: of the model.
        run: of the stage.
        ledger: gets a step ``replay``, into which those that were drawn come.
        source: the file of instances.
        tokens: of all other rows.
        seed: of the draw.

    Returns:
        The rows, and what is told of them; the instances that were not drawn are counted.

    Raises:
        DataError: there are fewer tokens than that, a source has none, or too much is lost to
            ``max_length``.
    """
    replay = section.replay
    assert replay is not None
    everything = instances_table(source)
    table = of_sources(everything, replay.sources)
    order = np.random.default_rng([seed, 0x2E91]).permutation(len(table))

    def drawn() -> Iterator[Instance]:
        for start in range(0, len(order), PIECE):
            yield from table_to_instances(table.take(order[start : start + PIECE]))

    wanted = tokens * replay.share / (1 - replay.share)
    rows: list[Rendered] = []
    found = 0
    with account(run, section, section.overflow, "replayed conversation", ledger, "replay") as own:
        for row in conversations(renderer, own, drawn()):
            rows.append(row)
            found += len(row.ids)
            if found >= wanted:
                break
    if found < wanted:
        got = f"{found:,} tokens in {len(rows):,} of {len(table):,} conversations"
        raise too_short("align", "data", got, wanted, replay.share)
    share = found / (found + tokens)
    console.line(
        f"align: replays {len(rows):,} of {len(table):,} conversations, {found:,} tokens "
        f"({share:.1%} of all)"
    )
    return rows, {
        "rendering": own.counts(),
        "tokens": found,
        "share": round(share, 4),
        "not_drawn": len(everything) - own.step.entered,
    }


def of_sources(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows of a table of instances that are of these sources; all when there are no names.

    Raises:
        DataError: ``replay-source``: one of them is the source of no row.
    """
    if not names:
        return table
    known = pc.unique(table["source"]).to_pylist()
    missing = [name for name in names if name not in known]
    if missing:
        raise DataError(
            "There is nothing to replay of a source.",
            slug="replay-source",
            got=", ".join(missing),
            expected="some of " + ", ".join(sorted(str(name) for name in known)),
            fix="Correct align.replay.sources.",
        )
    return table.filter(pc.is_in(table["source"], pa.array(names)))
