"""Token rows on disk: memory-mapped Arrow IPC, so that many readers share one copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from regimen.tokens.ragged import Segment
from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.sharing import RenderedShared


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows of segments. Row ``r`` is the segments ``row_offsets[r]`` to ``row_offsets[r + 1]``.

    ``ids`` and ``weights`` are flat over segments, cut by ``offsets``; ``parents`` counts inside a
    row (-1: no parent).
    """

    ids: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    parents: np.ndarray
    row_offsets: np.ndarray

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
        )

    def split(self, share: float, seed: int) -> tuple[TokenRows, TokenRows]:
        """Rows for training and, at least one, for validation; which is drawn from the seed."""
        order = np.random.default_rng([seed, 0x5711]).permutation(len(self))
        count = min(max(1, round(share * len(self))), len(self) - 1)
        return self.take(np.sort(order[count:]).tolist()), self.take(
            np.sort(order[:count]).tolist()
        )


def token_rows(rows: Iterable[Rendered | RenderedPair | RenderedShared]) -> TokenRows:
    """Collect rendered rows; what shares a beginning becomes segments that continue it."""
    ids: list[Sequence[int]] = []
    weights: list[Sequence[float]] = []
    parents: list[int] = []
    row_offsets = [0]
    for row in rows:
        if isinstance(row, Rendered):
            ids.append(row.ids)
            weights.append(row.weights)
            parents.append(-1)
        elif isinstance(row, RenderedShared):
            ids += [row.prefix, *(rest.ids for rest in row.rests)]
            weights += [[0.0] * len(row.prefix), *(rest.weights for rest in row.rests)]
            parents += [-1, *[0] * len(row.rests)]
        else:
            ids += [row.prompt, row.chosen, row.rejected]
            weights += [[0.0] * len(row.prompt), [1.0] * len(row.chosen), [1.0] * len(row.rejected)]
            parents += [-1, 0, 0]
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
    )


def cut_document(ids: Sequence[int] | np.ndarray, max_length: int) -> list[np.ndarray]:
    """Pieces of at most ``max_length`` tokens; one of a single token teaches nothing and goes."""
    whole = np.asarray(ids, dtype=np.int32)
    cuts = [whole[i : i + max_length] for i in range(0, len(whole), max_length)]
    return [piece for piece in cuts if len(piece) > 1]


def document_rows(documents: Iterable[Sequence[int] | np.ndarray], max_length: int) -> TokenRows:
    """Rows of plain text: every token supervised but the first of a row.

    A document longer than ``max_length`` tokens becomes several rows; nothing is dropped but
    pieces of a single token, which nothing can learn from.
    """
    pieces = [piece for ids in documents for piece in cut_document(ids, max_length)]
    lengths = np.asarray([len(piece) for piece in pieces], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    weights = np.ones(int(offsets[-1]), dtype=np.float32)
    weights[offsets[:-1]] = 0.0
    return TokenRows(
        np.concatenate(pieces) if pieces else np.zeros(0, np.int32),
        weights,
        offsets,
        np.full(len(pieces), -1, dtype=np.int32),
        np.arange(len(pieces) + 1, dtype=np.int64),
    )


_FIELDS = ("ids", "weights", "offsets", "parents", "row_offsets")


def save_token_rows(path: Path, rows: TokenRows) -> None:
    """Write rows as one Arrow IPC file with a list column per array."""
    arrays = [pa.array([getattr(rows, name)]) for name in _FIELDS]
    table = pa.Table.from_arrays(arrays, names=list(_FIELDS))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def load_token_rows(path: Path) -> TokenRows:
    """Map rows from disk without copying."""
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    arrays = [table[name].chunk(0).values.to_numpy(zero_copy_only=True) for name in _FIELDS]
    return TokenRows(*arrays)
