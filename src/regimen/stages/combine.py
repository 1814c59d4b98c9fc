"""``combine``: one adapter from several, a choice among them by row, or a whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regimen import console
from regimen.adapters.files import base_path, saw
from regimen.adapters.serving import problems
from regimen.adapters.several import combine as combine_adapters
from regimen.adapters.several import load_several, routes
from regimen.errors import AdapterError, near
from regimen.files import atomic_write, json_text
from regimen.memory.merging import APART, ORIGINAL, WAYS, merged, seen_base, seen_by_all
from regimen.models.loading import load_tokenizer
from regimen.stages.merging import file_dtype, measured, rows_file, show
from regimen.training.checkpoints import whole, write_model

MERGE = "merge.json"
"""Beside a merged model: what its adapter saw, and how far the ways of merging are from that."""


def combine(
    adapters: Sequence[str],
    out: Path,
    *,
    weights: Sequence[float] = (),
    how: str = "svd",
    density: float = 0.5,
    seed: int = 0,
    by: str = "",
    use: Sequence[str] = (),
    otherwise: str = "",
    merge: bool = False,
    into: str = "",
) -> dict[str, Any]:
    """Write one adapter that does what several do, with ``by`` routes among them, with ``merge``
    the base with one adapter in its weights.

    Args:
        adapters: folders of adapters, each with a name before it: ``name=folder``; the folder alone
            is named after its run.
        out: the folder that is written; there must be nothing there.
        weights: of the adapters, in order; all equal, and 1 together, if none are given.
        how: how they are combined.
        density: share of the entries that TIES and DARE keep.
        seed: of the entries that DARE draws.
        by: what rows are told apart by.
        use: ``value=name`` for each value of that label.
        otherwise: the adapter for other values; the base alone if empty.
        merge: write a whole model. Where the adapter was trained on a quantised base, the ways to
            merge it are measured against adapter and base apart, and the nearest is taken.
        into: ``original`` or ``dequantised``: take this way instead.

    Raises:
        AdapterError: the adapters do not fit together, or the folder is taken.
    """
    paths = named(adapters)
    if out.exists() and any(out.iterdir()):
        raise AdapterError(
            "There is something in this folder already.",
            slug="combine-taken",
            got=str(out),
            fix="Name a folder that is not there.",
        )
    if by:
        found = routes(paths, by, dict(pair(text, "use") for text in use), otherwise)
        found.write(out)
        console.line(f"combine: {len(paths)} adapters, chosen by {by}: {out}")
        return {"kind": "routes", "path": str(out), "adapters": paths, "by": by}
    if use or otherwise:
        raise AdapterError(
            "Rows are sent to adapters by a label, and none is named.",
            slug="combine-by",
            expected="--by task, family, category or language",
        )
    if merge:
        return _merged(paths, out, into)
    return _combined(paths, out, weights, how, density, seed)


def named(adapters: Sequence[str]) -> dict[str, str]:
    """Folders by name.

    Raises:
        AdapterError: two have one name.
    """
    found: dict[str, str] = {}
    for text in adapters:
        name, path = pair(text, "adapters") if "=" in text else (_name(text), text)
        if name in found:
            raise AdapterError(
                "Two adapters have one name.",
                slug="combine-names",
                got=name,
                fix="Give each its name: name=folder.",
            )
        found[name] = path
    return found


def _name(path: str) -> str:
    """That of its run: ``runs/law/tune/final`` is ``law``."""
    parts = [part for part in Path(path).parts if part not in ("final", "tune", "align")]
    return parts[-1] if parts else path


def pair(text: str, what: str) -> tuple[str, str]:
    """``a=b``.

    Raises:
        AdapterError: it is not of that form.
    """
    left, equals, right = text.partition("=")
    if not (left and equals and right):
        raise AdapterError(
            f"One of {what} is not written as expected.",
            slug="combine-pair",
            got=repr(text),
            expected="a name, = and a value",
        )
    return left, right


def _combined(
    paths: Mapping[str, str], out: Path, given: Sequence[float], how: str, density: float, seed: int
) -> dict[str, Any]:
    if given and len(given) != len(paths):
        raise AdapterError(
            "There are other weights than adapters.",
            slug="combine-weights",
            got=f"{len(given)} weights, {len(paths)} adapters",
        )
    weights = dict(zip(paths, given or [1.0 / len(paths)] * len(paths), strict=True))
    routes(paths, "task", {})  # all of one base
    seen = seen_by_all(paths.values())
    first = next(iter(paths.values()))
    tokenizer = load_tokenizer(first)
    # only the adapters' own weights are read: the base need not be quantised for it
    several = load_several(seen_base(base_path(first), tokenizer), paths)
    with whole(out) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        combine_adapters(several, weights, partial, how=how, density=density, seed=seed, seen=seen)
        tokenizer.save_pretrained(partial)
    words = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    console.line(f"combine: {how} of {words}: {out}")
    return {
        "kind": "adapter", "path": str(out), "how": how, "weights": weights,
        "not_for_vllm": problems(out),
    }  # fmt: skip


def _merged(paths: Mapping[str, str], out: Path, into: str) -> dict[str, Any]:
    if len(paths) > 1:
        raise AdapterError(
            "One adapter becomes part of a base.",
            slug="combine-merged",
            got=f"{len(paths)} adapters",
            fix="Combine them first.",
        )
    ways = [way for way in WAYS if way != APART]
    if into and into not in ways:
        raise AdapterError(
            "An adapter cannot be merged in this way.",
            slug="combine-into",
            got=repr(into),
            expected=" or ".join(ways),
            fix=near(into, ways),
        )
    ((_, path),) = paths.items()
    tokenizer, dtype = load_tokenizer(path), file_dtype(base_path(path))
    told: dict[str, Any] = {"adapter": path, "saw": saw(path), "into": into or ORIGINAL}
    if saw(path) is not None and (rows_file(path).is_file() or not into):
        found = measured(path, tokenizer, dtype)
        told |= {"into": into or found["nearest"], "dtype": dtype, **found}
        show(told)
    network = merged(path, tokenizer, told["into"])
    write_model(network, tokenizer, out, dtype=dtype)
    atomic_write(out / MERGE, json_text(told))
    console.line(f"combine: {path} {WAYS[told['into']]}: {out}")
    return {"kind": "model", "path": str(out), **told}
