"""``combine``: one adapter from several, a choice among them by row, or a whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regimen import console
from regimen.adapters.files import base_path, load_adapter, load_base, merge
from regimen.adapters.serving import problems
from regimen.adapters.several import combine as combine_adapters
from regimen.adapters.several import load_several, routes
from regimen.errors import AdapterError
from regimen.models.loading import load_tokenizer
from regimen.training.checkpoints import whole, write_model


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
    merged: bool = False,
) -> dict[str, Any]:
    """Write one adapter that does what several do, with ``by`` routes among them, with ``merged``
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
        merged: write a whole model.

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
    if merged:
        return _merged(paths, out)
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
    network, tokenizer = _base(paths)
    several = load_several(network, paths)
    with whole(out) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        combine_adapters(several, weights, partial, how=how, density=density, seed=seed)
        tokenizer.save_pretrained(partial)
    words = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    console.line(f"combine: {how} of {words}: {out}")
    return {
        "kind": "adapter", "path": str(out), "how": how, "weights": weights,
        "not_for_vllm": problems(out),
    }  # fmt: skip


def _merged(paths: Mapping[str, str], out: Path) -> dict[str, Any]:
    if len(paths) > 1:
        raise AdapterError(
            "One adapter becomes part of a base.",
            slug="combine-merged",
            got=f"{len(paths)} adapters",
            fix="Combine them first.",
        )
    ((_, path),) = paths.items()
    network, tokenizer = _base(paths)
    write_model(merge(load_adapter(network, path)), tokenizer, out)
    console.line(f"combine: {path} in its base: {out}")
    return {"kind": "model", "path": str(out)}


def _base(paths: Mapping[str, str]) -> tuple[Any, Any]:
    """The base of the first adapter, with the vocabulary that it was trained on."""
    first = next(iter(paths.values()))
    tokenizer = load_tokenizer(first)
    return load_base(base_path(first), tokenizer)[0], tokenizer
