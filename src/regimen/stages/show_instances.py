"""``show``: rendered instances with coloured masks, and how much of them is supervised."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from regimen import console
from regimen.errors import DataError, SettingsError, near
from regimen.models.loading import load_tokenizer
from regimen.records import Instance
from regimen.stages.show_material import records_of
from regimen.tables import read_table, table_to_instances
from regimen.tokens.rendering import Renderer, ensure_chat_tokens

MASKS = ("assistant", "last_turn", "all")


def show_instances(source: Path, model: str, *, number: int = 3, mask: str = "assistant") -> Any:
    """Print ``number`` instances as tokens, those that are learnt marked, and a histogram.

    Args:
        source: a build directory, a Parquet file of instances, or any file that ``build`` reads.
        model: a model or tokenizer folder; its chat template renders.
        number: instances to show.
        mask: which turns are learnt.

    Raises:
        SettingsError: an unknown mask.
        DataError: nothing to show.
    """
    if mask not in MASKS:
        raise SettingsError(
            "There is no such masking policy.", slug="mask-unknown", got=mask, fix=near(mask, MASKS)
        )
    tokenizer = load_tokenizer(model)
    renderer = Renderer(tokenizer, policy=mask)  # type: ignore[arg-type]
    ensure_chat_tokens(tokenizer, renderer)
    instances = list(islice(_instances(source), 2000))
    if not instances:
        raise DataError("There is no instance to show.", slug="nothing-to-show", got=str(source))
    rows = [row for one in instances for row in renderer.conversation(one.messages)]
    for row in rows[:number]:
        pieces = [tokenizer.decode([i]) for i in row.ids]
        console.masked_tokens(pieces, [bool(w) for w in row.weights], list(row.weights))
        console.line()
    supervised = np.asarray([row.supervised for row in rows])
    lengths = np.asarray([len(row.ids) for row in rows])
    levels = (0, 25, 50, 75, 95, 100)
    console.table(
        f"{len(rows):,} rows",
        ["tokens", *(f"{q}%" for q in levels)],
        [
            ["all", *(int(np.percentile(lengths, q)) for q in levels)],
            ["learnt", *(int(np.percentile(supervised, q)) for q in levels)],
        ],
    )
    for note, count in renderer.notes.items():
        console.line(f"{count:,} times: {note}")
    return {
        "rows": len(rows),
        "tokens": int(lengths.sum()),
        "supervised": int(supervised.sum()),
        "rows_without_supervision": int((supervised == 0).sum()),
    }


def _instances(source: Path) -> Any:
    path = source / "instances.parquet" if (source / "instances.parquet").is_file() else source
    if path.suffix == ".parquet":
        return table_to_instances(read_table(path))
    return (one for one in records_of(source) if isinstance(one, Instance))
