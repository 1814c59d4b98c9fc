"""Several adapters on one base: loaded together, switched, combined into one, chosen by row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from regimen.adapters.files import base_path, check_base, is_adapter, load_adapter, write_base
from regimen.adapters.spec import HASHES, quiet, write
from regimen.errors import AdapterError, near

FILE = "routes.json"
"""The file of a folder that chooses among adapters."""

LABELS = ("task", "family", "category", "language")
"""What a row may be routed by."""

HOW = (
    "cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties",
    "dare_ties_svd",
)  # fmt: skip
"""Ways to combine: side by side, which is exact and of the ranks' sum; the nearest of the largest
rank; sums of the matrices, plain, of the largest entries with one sign (TIES, Yadav et al. 2023),
or of entries drawn at random and scaled up (DARE, Yu et al. 2023)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which adapter answers which row.

    Args:
        base: the base's directory.
        adapters: directories of the adapters by name.
        by: one of ``LABELS``.
        use: names of adapters by the label's value.
        otherwise: for other values; the base alone if empty.
    """

    base: str
    adapters: Mapping[str, str]
    by: str
    use: Mapping[str, str]
    otherwise: str = ""

    def of(self, labels: Mapping[str, str]) -> str:
        """The adapter for a row with these labels; empty for the base alone."""
        return self.use.get(labels.get(self.by, ""), self.otherwise)

    def write(self, directory: Path) -> None:
        """Into a folder that stands for a model."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        (directory / FILE).write_text(text, encoding="utf-8")


def is_routed(path: str) -> bool:
    """Whether a folder chooses among adapters."""
    return (Path(path) / FILE).is_file()


def read_routes(path: str) -> Routes:
    """What such a folder says.

    Raises:
        AdapterError: it is not whole, or names an adapter that there is not.
    """
    try:
        found = Routes(**json.loads((Path(path) / FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise AdapterError(
            "A file that chooses among adapters cannot be read.",
            slug="routes-unreadable",
            got=str(error),
            where=str(Path(path) / FILE),
        ) from error
    _check(found)
    return found


def routes(
    adapters: Mapping[str, str], by: str, use: Mapping[str, str], otherwise: str = ""
) -> Routes:
    """Routes over saved adapters of one base.

    Raises:
        AdapterError: an adapter is missing or has another base, or a name or label is unknown.
    """
    bases = {name: base_path(path) for name, path in adapters.items() if is_adapter(path)}
    missing = [path for name, path in adapters.items() if name not in bases]
    if missing or len(set(bases.values())) != 1:
        raise AdapterError(
            "Adapters that are used together have one base.",
            slug="adapter-bases",
            got=f"{missing[0]} is no adapter"
            if missing
            else ", ".join(sorted(set(bases.values()))),
            expected="folders of adapters that were trained on the same base",
        )
    found = Routes(
        base=next(iter(bases.values())),
        adapters=dict(adapters),
        by=by,
        use=dict(use),
        otherwise=otherwise,
    )
    _check(found)
    return found


def _check(found: Routes) -> None:
    if found.by not in LABELS:
        raise AdapterError(
            "Rows cannot be told apart by this.",
            slug="routes-label",
            got=repr(found.by),
            expected="one of " + ", ".join(LABELS),
            fix=near(found.by, LABELS),
        )
    for name in [*found.use.values(), found.otherwise]:
        if name and name not in found.adapters:
            raise AdapterError(
                "There is no adapter of this name.",
                slug="routes-adapter",
                got=repr(name),
                expected="one of " + ", ".join(found.adapters),
                fix=near(name, found.adapters),
            )


def load_several(model: Any, paths: Mapping[str, str]) -> Any:
    """One model with several adapters, by name; none of them is trained.

    Raises:
        AdapterError: one was trained on another base, is of another kind than the first, or cannot
            be read.
    """
    for path in paths.values():
        check_base(model, path)
    (first, path), *others = paths.items()
    adapted = load_adapter(model, path, name=first)
    for name, path in others:
        try:
            with quiet():
                adapted.load_adapter(path, adapter_name=name)
        except (ValueError, OSError, RuntimeError) as error:
            raise AdapterError(
                "An adapter cannot stand beside the others.",
                slug="adapter-beside",
                got=str(error).splitlines()[0][:200],
                expected="adapters of one kind",
                where=path,
            ) from error
    return adapted.eval()


def switch(model: Any, name: str) -> None:
    """Use one of several adapters from now on; the base alone where the name is empty."""
    tuner = model.base_model
    if name:
        model.set_adapter(name)
    if hasattr(tuner, "enable_adapter_layers"):  # those before every row have no layers
        (tuner.enable_adapter_layers if name else tuner.disable_adapter_layers)()
    model._adapters_disabled = not name


@contextmanager
def using(model: Any, name: str) -> Iterator[None]:
    """Inside, one of several adapters is in use; the base alone where the name is empty."""
    before = "" if model._adapters_disabled else model.active_adapter
    switch(model, name)
    try:
        yield
    finally:
        switch(model, before)


def combine(
    model: Any,
    weights: Mapping[str, float],
    directory: Path,
    *,
    how: str,
    density: float,
    seed: int,
    seen: Mapping[str, Any] | None = None,
) -> None:
    """Write one adapter that does what several do together, as PEFT combines them.

    Args:
        model: as ``load_several`` gives it.
        weights: of the adapters, by name.
        directory: where the adapter goes.
        how: one of ``HOW``.
        density: share of the entries that TIES and DARE keep.
        seed: of the entries that DARE draws.
        seen: the quantised base that all of them saw.

    Raises:
        AdapterError: the adapters are no LoRAs, or their ranks do not fit this way.
    """
    if how not in HOW:
        raise AdapterError(
            "Adapters cannot be combined in this way.",
            slug="adapter-combination",
            got=repr(how),
            expected="one of " + ", ".join(HOW),
            fix=near(how, HOW),
        )
    torch.manual_seed(seed)
    drawn = how.startswith(("ties", "dare"))
    try:
        model.add_weighted_adapter(
            list(weights),
            list(weights.values()),
            "combined",
            combination_type=how,
            **({"density": density} if drawn else {}),
        )
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise AdapterError(
            "These adapters cannot be combined in this way.",
            slug="adapter-combination",
            got=f"{how}: {str(error).splitlines()[0][:200]}",
            expected="LoRAs; for sums of matrices, of one rank",
            fix="Use how: svd or cat, which take any ranks.",
        ) from error
    with quiet():
        write(model, directory, selected_adapters=["combined"])
    inside = directory / "combined"
    for file in inside.iterdir():
        shutil.move(file, directory / file.name)
    inside.rmdir()
    write_base(directory, getattr(model, HASHES), seen)
