"""Data sets of the Hugging Face library: by name from the hub, or saved in a folder.

A folder that ``save_to_disk`` wrote is read with pyarrow alone; only a name needs the extra
``hub``. A label that the features know as a ``ClassLabel`` is a number in the rows; its words are
given beside them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.errors import DataError, MissingExtraError, near
from regimen.instances.readers import RawRow, RowFailure, data_files, file_rows, usable

_BATCH_ROWS = 256


@dataclass(slots=True)
class Opened:
    """Rows of a source with the words of its labels, by column, where the source knows them."""

    rows: Iterator[RawRow | RowFailure]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def open_rows(path: Path, split: str = "train", limit: int | None = None) -> Opened:
    """The rows of a file, of a directory of data files, or of a folder of ``save_to_disk``.

    Args:
        path: what ``read_rows`` reads, or a saved data set.
        split: the split of a saved data set that has several.
        limit: most rows to read, failures included.

    Raises:
        DataError: as ``read_rows``; no such split (``unknown-split``), a saved data set that is
            damaged (``file-format``). A file's errors come when its rows are asked for.
    """
    if is_saved(path):
        folder = _split_folder(path, split)
        found = class_labels(_json(folder / "dataset_info.json").get("features") or {})
        return Opened(usable(_saved(folder), folder, limit), found)
    files = data_files(path)
    inside = path if path.is_dir() else None
    rows = (row for file in files for row in file_rows(file, inside))
    return Opened(usable(rows, path, limit), _parquet_labels(files[0]))


def is_saved(path: Path) -> bool:
    """Whether a folder is what ``save_to_disk`` writes: one data set, or one for each split."""
    one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return one or (path / "dataset_dict.json").is_file()


def saved_splits(path: Path) -> tuple[str, ...]:
    """The splits of a saved folder in their order; none where it is a single data set.

    Raises:
        DataError: its list of splits is damaged (``file-format``).
    """
    if not (path / "dataset_dict.json").is_file():
        return ()
    return tuple(str(name) for name in _json(path / "dataset_dict.json").get("splits") or ())


def _split_folder(path: Path, split: str) -> Path:
    splits = saved_splits(path)
    if not splits:
        return path
    if split not in splits:
        raise DataError(
            "The saved data set has no such split.",
            slug="unknown-split",
            got=split,
            expected=", ".join(splits),
            fix=near(split, splits),
            where=str(path),
        )
    return path / split


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(file, type(found).__name__)
    return found


def _damaged(file: Path, got: str) -> DataError:
    return DataError(
        "The folder is no data set as save_to_disk writes it, or it is damaged.",
        slug="file-format",
        got=got.splitlines()[0] if got else "",
        fix="Save the data set again, or export it with to_parquet.",
        where=str(file),
    )


def _saved(folder: Path) -> Generator[RawRow | RowFailure, None, None]:
    """The rows of one saved data set, numbered from 1."""
    import pyarrow as pa

    row = 0
    for entry in _json(folder / "state.json").get("_data_files") or ():
        file = folder / str(entry["filename"])
        try:
            with pa.memory_map(str(file)) as source:
                for batch in pa.ipc.open_stream(source):
                    for values in _batch_rows(batch):
                        row += 1
                        yield RawRow(row, values, file.name)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, str(error)) from error


def _batch_rows(batch: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        yield from batch.slice(start, _BATCH_ROWS).to_pylist()


def class_labels(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The words of each ``ClassLabel`` of a data set's features, as JSON or as the library's."""
    found = {}
    for column, feature in features.items():
        kind = feature.get("_type") if isinstance(feature, Mapping) else type(feature).__name__
        names = feature.get("names") if isinstance(feature, Mapping) else _names(feature)
        if kind == "ClassLabel" and names:
            found[str(column)] = tuple(map(str, names))
    return found


def _names(feature: Any) -> Any:
    return getattr(feature, "names", None)


def _parquet_labels(file: Path) -> dict[str, tuple[str, ...]]:
    """Class labels that the library wrote into a Parquet file's schema."""
    if file.suffix.lower() != ".parquet":
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(said).get("info", {}).get("features", {})
    except (pa.ArrowException, OSError, ValueError, AttributeError):
        return {}  # reading its rows says what is wrong with the file
    return class_labels(features) if isinstance(features, Mapping) else {}


def open_dataset(
    name: str, config: str = "", split: str = "train", limit: int | None = None
) -> Opened:
    """The rows of a data set of the Hugging Face hub, numbered from 1.

    Args:
        name: ``org/name``.
        config: one of its configurations, where it has several.
        split: the split to read.
        limit: most rows to read.

    Raises:
        MissingExtraError: the extra ``hub`` is not installed.
        DataError: it cannot be loaded (``dataset-unavailable``): no such name, configuration or
            split, no network and not in the cache.
    """
    loaded = _load(name, config, split)
    labels = class_labels(loaded.features or {})
    return Opened(usable(_loaded_rows(loaded, name), Path(name), limit), labels)


def _loaded_rows(loaded: Any, name: str) -> Generator[RawRow | RowFailure, None, None]:
    tables = loaded.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    rows = (values for table in tables for values in table.to_pylist())
    return (RawRow(row, values, name) for row, values in enumerate(rows, start=1))


def dataset_splits(name: str, config: str = "") -> tuple[str, ...]:
    """The splits of a data set of the hub.

    Raises:
        MissingExtraError, DataError: as ``open_dataset``.
    """
    datasets = _library()
    with _Loading(name, config, ""):
        return tuple(map(str, datasets.get_dataset_split_names(name, config or None)))


def _load(name: str, config: str, split: str) -> Any:
    datasets = _library()
    with _Loading(name, config, split):
        return datasets.load_dataset(name, config or None, split=split)


class _Loading:
    """Turns what the library raises for a name into one error of ours."""

    def __init__(self, name: str, config: str, split: str) -> None:
        parts = {"config": config, "split": split}
        self.asked = ", ".join([name, *(f"{key} {value}" for key, value in parts.items() if value)])

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, OSError | ValueError | RuntimeError):
            said = f"{type(error).__name__}: {error}".splitlines()
            raise DataError(
                "The data set cannot be loaded.",
                slug="dataset-unavailable",
                got=f"{self.asked}: {said[0]}"[:400],
                expected="org/name of a data set, one of its configs and splits",
                fix="Check the spelling and the network, or download its files and name their "
                "folder with path.",
            ) from error


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            "Data sets of the hub need the library 'datasets', which is not installed.",
            slug="missing-library",
            fix="pip install 'regimen[hub]', or download the files and name their folder.",
        ) from error
    return datasets
