"""Which part of a decoder a module is: attention, gated network or norm.

A part is found by the names that transformers gives its classes and attributes; a module inside a
part belongs to it (the norm of queries is attention). What is no part is the rest: embedding,
residual additions, rotary angles, recurrent mixers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ATTENTION, NETWORK, NORMS = "attention", "gated network", "norms"
HEAD, REST = "head", "embedding, residuals"

PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    ATTENTION: (("attention", "attn"), ("self_attn", "self_attention", "attn", "attention")),
    NETWORK: (
        ("mlp", "feedforward", "sparsemoe", "experts"),
        ("mlp", "feed_forward", "ffn", "moe", "block_sparse_moe", "fc1", "fc2"),
    ),
    NORMS: (("norm",), ()),
}
"""Part: pieces of the names of its classes in small letters, names of its attributes."""


def part_of(name: str, module: Any) -> str | None:
    """The part that a module is, by its attribute's name and its class; None for the rest."""
    kind = type(module).__name__.lower()
    for part, (pieces, names) in PARTS.items():
        if name in names or any(piece in kind for piece in pieces):
            return part
    return None


def parts_below(module: Any, above: str = "") -> Iterator[tuple[str, str, Any]]:
    """Part, full name and module of each outermost part below a module."""
    for name, child in module.named_children():
        full = f"{above}.{name}" if above else name
        part = part_of(name, child)
        if part is None:
            yield from parts_below(child, full)
        else:
            yield part, full, child
