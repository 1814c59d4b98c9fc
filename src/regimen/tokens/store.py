"""Token rows on disk: memory-mapped Arrow IPC, so that many readers share one copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from regimen.tokens.ragged import Segment
from regimen.tokens.rendering import Rendered, RenderedAnswers, RenderedPair
from regimen.tokens.sharing import RenderedShared


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows of segments. Row ``r`` is the segments ``row_offsets[r]`` to ``row_offsets[r + 1]``.

    ``ids`` and ``weights`` are flat over segments, cut by ``offsets``; ``parents`` counts inside a
    row (-1: no parent). ``names`` says which instances or documents a row came from, one text each.
    ``scored`` rows are not predicted: a score is read at each id whose weight is not 0.
    """

    ids: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    parents: np.ndarray
    row_offsets: np.ndarray
    names: pa.StringArray | None = None
    scored: bool = False

    def __len__(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row."""
        return np.asarray(self.offsets[self.row_offsets[1:]] - self.offsets[self.row_offsets[:-1]])

    @property
    def supervised(self) -> np.ndarray:
        """Supervised tokens of each row."""
        counts = np.concatenate([[0], np.cumsum(self.weights != 0)])
        edges = counts[self.offsets[self.row_offsets]]
        return np.asarray(np.diff(edges))

    def name(self, row: int) -> str:
        """Which instances or documents a row came from; its number where nobody said."""
        return f"row {row}" if self.names is None else str(self.names[row])

    def segments(self, rows: Sequence[int]) -> list[Segment]:
        """The segments of some rows, parents shifted to the batch."""
        out: list[Segment] = []
        for row in rows:
            base = len(out)
            for s in range(int(self.row_offsets[row]), int(self.row_offsets[row + 1])):
                cut = slice(int(self.offsets[s]), int(self.offsets[s + 1]))
                parent = int(self.parents[s])
                out.append(
                    Segment(
                        self.ids[cut],
                        self.weights[cut],
                        parent + base if parent >= 0 else -1,
                        int(row),
                        self.scored,
                    )
                )
        return out

    def take(self, rows: Sequence[int]) -> TokenRows:
        """Some rows, in the order given, as rows of their own."""
        segments = [np.arange(self.row_offsets[row], self.row_offsets[row + 1]) for row in rows]
        numbers = np.concatenate(segments or [np.zeros(0, np.int64)]).astype(np.int64)
        starts, ends = self.offsets[numbers], self.offsets[numbers + 1]
        places = np.concatenate(
            [np.arange(a, b) for a, b in zip(starts, ends, strict=True)] or [np.zeros(0, np.int64)]
        )
        return TokenRows(
            self.ids[places],
            self.weights[places],
            np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64),
            self.parents[numbers],
            np.concatenate([[0], np.cumsum([len(s) for s in segments])]).astype(np.int64),
            None if self.names is None else self.names.take(pa.array(rows, pa.int64())),
            self.scored,
        )

    def split(self, share: float, seed: int) -> tuple[TokenRows, TokenRows]:
        """Rows for training and, at least one, for validation; which is drawn from the seed."""
        order = np.random.default_rng([seed, 0x5711]).permutation(len(self))
        count = min(max(1, round(share * len(self))), len(self) - 1)
        return self.take(np.sort(order[count:]).tolist()), self.take(
            np.sort(order[:count]).tolist()
        )


def token_rows(
    rows: Iterable[Rendered | RenderedPair | RenderedAnswers | RenderedShared],
) -> TokenRows:
    """Collect rendered rows; what shares a beginning becomes segments that continue it."""
    ids: list[Sequence[int]] = []
    weights: list[Sequence[float]] = []
    parents: list[int] = []
    row_offsets = [0]
    names: list[str] = []
    for row in rows:
        names.append(_name(row))
        if isinstance(row, Rendered):
            ids.append(row.ids)
            weights.append(row.weights)
            parents.append(-1)
        elif isinstance(row, RenderedShared):
            ids += [row.prefix, *(rest.ids for rest in row.rests)]
            weights += [[0.0] * len(row.prefix), *(rest.weights for rest in row.rests)]
            parents += [-1, *[0] * len(row.rests)]
        else:
            ids += [row.prompt, *row.answers]
            weights += [[0.0] * len(row.prompt), *_weights(row)]
            parents += [-1, *[0] * len(row.answers)]
        row_offsets.append(len(ids))
    lengths = [len(x) for x in ids]
    return TokenRows(
        np.concatenate([np.asarray(x, dtype=np.int32) for x in ids] or [np.zeros(0, np.int32)]),
        np.concatenate(
            [np.asarray(x, dtype=np.float32) for x in weights] or [np.zeros(0, np.float32)]
        ),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.asarray(parents, dtype=np.int32),
        np.asarray(row_offsets, dtype=np.int64),
        pa.array(names, pa.string()) if any(names) else None,
    )


def _weights(row: RenderedPair | RenderedAnswers) -> Sequence[Sequence[float]]:
    """The weights of each answer's tokens: all 1 where the row does not say."""
    if isinstance(row, RenderedAnswers):
        return row.every_weight
    return [[1.0] * len(answer) for answer in row.answers]


def _name(row: Rendered | RenderedPair | RenderedAnswers | RenderedShared) -> str:
    if isinstance(row, RenderedShared):
        return ", ".join(rest.name for rest in row.rests)
    return row.name


def text_rows(pieces: Iterable[tuple[str, np.ndarray]]) -> TokenRows:
    """Rows of plain text, each with its name: every token is supervised but the first of a row."""
    named = list(pieces)
    lengths = np.asarray([len(piece) for _, piece in named], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    weights = np.ones(int(offsets[-1]), dtype=np.float32)
    weights[offsets[:-1]] = 0.0
    return TokenRows(
        np.concatenate([piece for _, piece in named]) if named else np.zeros(0, np.int32),
        weights,
        offsets,
        np.full(len(named), -1, dtype=np.int32),
        np.arange(len(named) + 1, dtype=np.int64),
        pa.array([name for name, _ in named], pa.string()),
    )


_FIELDS = ("ids", "weights", "offsets", "parents", "row_offsets")


def save_token_rows(path: Path, rows: TokenRows) -> None:
    """Write rows as one Arrow IPC file with a list column per array."""
    columns = {name: pa.array([getattr(rows, name)]) for name in _FIELDS}
    if rows.names is not None:
        columns["names"] = pa.ListArray.from_arrays([0, len(rows.names)], rows.names)
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def load_token_rows(path: Path) -> TokenRows:
    """Map rows from disk without copying."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    lists = {name: table[name].chunk(0).values for name in table.column_names}
    names = lists.pop("names", None)
    return TokenRows(**{n: a.to_numpy(zero_copy_only=True) for n, a in lists.items()}, names=names)
