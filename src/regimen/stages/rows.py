"""Token rows of a training: each record is kept, removed or failed; what max_length costs is known.

Removed records lie in the stage's ``ledger/`` with their reasons, as those of ``build`` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen import console
from regimen.curation.ledger import Ledger, Record, Step
from regimen.errors import DataError, TokenError
from regimen.records import Instance, Lineage
from regimen.runs import Run
from regimen.settings.training import TrainingSettings
from regimen.settings.tune import ReplaySettings, TuneSettings
from regimen.stages.common import section_name
from regimen.stages.texts import load_texts
from regimen.stages.training import Prepared, head_masks
from regimen.tables import read_table, spread, table_to_instances
from regimen.tokens.overflow import OverflowPolicy, cut_text, fit_conversation
from regimen.tokens.rendering import Rendered, Renderer
from regimen.tokens.sharing import RenderedShared, share_prefixes
from regimen.tokens.store import TokenRows, text_rows, token_rows

if TYPE_CHECKING:
    import pyarrow as pa

TOO_LONG = "longer_than_max_length"
NOTHING = "nothing_supervised"
NOTHING_LEFT = "nothing_supervised_once_cut"


@dataclass(slots=True)
class Account:
    """What becomes of the records of a stage: their step of the ledger and the supervised tokens.

    ``supervised`` counts the supervised tokens of all records before anything was cut, ``lost``
    those that are in no row; ``longer`` the records with a row of more than ``limit`` tokens.
    """

    step: Step
    unit: str
    limit: int
    policy: OverflowPolicy
    supervised: int = 0
    lost: int = 0
    longer: int = 0
    longest: int = 0
    rows: int = 0

    def settle(
        self, record: Record, rows: int, *, supervised: int, lost: int, longest: int
    ) -> None:
        """A record became ``rows`` rows, none if it is removed."""
        long = longest > self.limit
        self.supervised += supervised
        self.lost += lost
        self.longer += long
        self.longest = max(self.longest, longest)
        self.rows += rows
        if not rows:
            reason = TOO_LONG if self.policy == "drop" else NOTHING_LEFT
            self.step.remove(
                record, reason if long and supervised else NOTHING, f"{longest} tokens"
            )
            return
        self.step.keep()
        if long:
            self.step.change("truncated" if self.policy == "truncate" else "split")

    @property
    def lost_share(self) -> float:
        """Share of the supervised tokens that is lost."""
        return self.lost / max(self.supervised, 1)

    def counts(self) -> dict[str, Any]:
        """For ``rendering.json`` and the summary."""
        return {
            **self.step.summary(),
            "unit": self.unit,
            "rows": self.rows,
            "overflow": {
                "policy": self.policy,
                "max_length": self.limit,
                "longer": self.longer,
                "longest": self.longest,
                "supervised_tokens": self.supervised,
                "lost_tokens": self.lost,
                "lost_share": round(self.lost_share, 6),
            },
        }


@contextmanager
def account(
    run: Run,
    section: TrainingSettings,
    policy: OverflowPolicy,
    unit: str,
    ledger: Ledger | None = None,
    name: str = "rendering",
) -> Iterator[Account]:
    """The account of a stage's records; at the end it is written, told and checked.

    It is a step of the stage's ``ledger``, which is a new one where none is given.

    Raises:
        DataError: no row is left, or more supervised tokens would be lost than the settings allow.
    """
    ledger = ledger or Ledger(run.path("ledger"))
    with ledger.step(name) as step:
        found = Account(step, unit, section.max_length, policy)
        yield found
    ledger.write()
    _tell(run.stage, found)
    _check(run.stage, found, section.max_lost_share)


def _tell(stage: str, found: Account) -> None:
    """One line on the console where something was too long."""
    if not found.longer:
        return
    removed = found.step.removed[TOO_LONG] + found.step.removed[NOTHING_LEFT]
    became = {"removed": removed, **found.step.changed}
    told = ", ".join(f"{n:,} {what}" for what, n in became.items() if n)
    console.line(
        f"{stage}: {found.longer:,} of {found.step.entered:,} {found.unit}s are longer than "
        f"{found.limit:,} tokens (the longest has {found.longest:,}): {told}; {found.lost:,} of "
        f"{found.supervised:,} supervised tokens ({found.lost_share:.1%}) are lost"
    )


def _check(stage: str, found: Account, allowed: float) -> None:
    step, section = found.step, section_name(stage)
    if found.lost_share > allowed:
        may_split = stage.startswith("tune") and found.policy != "split"
        split = f", set {section}.overflow to split" if may_split else ""
        raise DataError(
            "Too much of what is to be learnt would be lost to max_length.",
            slug="overflow-loss",
            got=f"{found.lost:,} of {found.supervised:,} supervised tokens ({found.lost_share:.1%})"
            f", in {found.longer:,} of {step.entered:,} {found.unit}s; the longest has "
            f"{found.longest:,} tokens and {section}.max_length is {found.limit:,}",
            expected=f"at most {allowed:.1%} ({section}.max_lost_share)",
            fix=f"Raise {section}.max_length{split}, or raise {section}.max_lost_share.",
        )
    if not step.kept:
        lost = ", ".join(f"{why} {n:,}" for why, n in (step.removed | step.failed).items())
        long = step.removed[TOO_LONG] + step.removed[NOTHING_LEFT]
        raise DataError(
            f"No {found.unit} is left to train on.",
            slug="no-instances",
            got=f"{step.entered:,} read" + (f"; {lost}" if lost else ""),
            expected=f"a {found.unit} that can be learnt from",
            fix=f"Raise {section}.max_length, or look at the rows with `regimen show`."
            if long or not lost
            else "Correct these rows: ledger/ of the stage has each with its reason.",
        )


def origin(lineage: Lineage, identity: str) -> str:
    """What a row is called where something is wrong with it: where it came from, and its id."""
    place = f"{lineage.source}:{lineage.row} " if lineage.source else ""
    return f"{place}({identity})"


def conversation_rows(
    section: TuneSettings, prepared: Prepared, run: Run, source: Path
) -> tuple[TokenRows, dict[str, Any]]:
    """Rows of the instances in a file, with plain text replayed beside them.

    Raises:
        DataError: nothing to learn, too much lost, or too little text to replay.
    """
    rendered, counts = _rendered(section, prepared.renderer, run, read_instances(source))
    picked = rendered[:: max(1, len(rendered) // 3)][:3]
    samples = head_masks(prepared, [r.ids for r in picked], [r.weights for r in picked])
    run.write_json("samples.json", samples)
    rows: list[Rendered | RenderedShared] = share_prefixes(rendered, section.rows_per_prefix)
    if section.replay is not None:
        replayed = replayed_rows(section.replay, prepared.renderer, rendered, section.max_length)
        rows += replayed
        counts["replayed"] = {"rows": len(replayed), "tokens": sum(len(r.ids) for r in replayed)}
    run.write_json("rendering.json", {**counts, "notes": prepared.renderer.notes})
    collected = token_rows(rows)
    share = float((collected.weights != 0).mean())
    return collected, {"rendering": counts, "supervised_share": round(share, 4)}


def _rendered(
    section: TuneSettings, renderer: Renderer, run: Run, instances: Iterable[Instance]
) -> tuple[list[Rendered], dict[str, Any]]:
    """The rows of each instance with its name and weight, and the counts."""
    with account(run, section, section.overflow or "drop", "conversation") as found:
        rendered = list(conversations(renderer, found, instances))
    return rendered, found.counts()


def conversations(
    renderer: Renderer, found: Account, instances: Iterable[Instance]
) -> Iterator[Rendered]:
    """The rows of each instance with its name and weight, one after another; all are counted."""
    for instance in instances:
        found.step.enter()
        name = origin(instance.lineage, instance.instance_id)
        try:
            fitted = fit_conversation(renderer, instance.messages, found.limit, found.policy)
        except TokenError as error:
            found.step.fail(name, error.slug, error.got, error.fix)
            continue
        found.settle(
            instance,
            len(fitted.rows),
            supervised=fitted.supervised,
            lost=fitted.lost,
            longest=fitted.longest,
        )
        yield from (_named(row, name, instance.weight) for row in fitted.rows)


def _named(row: Rendered, name: str, weight: float) -> Rendered:
    weights = row.weights if weight == 1.0 else tuple(w * weight for w in row.weights)
    return replace(row, weights=weights, name=name)


def read_instances(source: Path, most: int | None = None) -> Iterator[Instance]:
    """The instances of a Parquet file: all, or at most ``most`` of them, spread evenly.

    Raises:
        DataError: it is no such file.
    """
    yield from table_to_instances(spread(instances_table(source), most))


def instances_table(source: Path) -> pa.Table:
    """The table of a Parquet file of instances.

    Raises:
        DataError: it is no such file.
    """
    if source.suffix == ".parquet":
        return read_table(source)
    raise DataError(
        "Training data must be a build directory or a Parquet file of instances.",
        slug="not-instances",
        got=str(source),
        fix="Run `regimen build` first, or add a build section to the settings.",
    )


def replayed_rows(
    replay: ReplaySettings, renderer: Renderer, rows: Sequence[Rendered], limit: int
) -> list[Rendered]:
    """Documents, in pieces of at most ``limit`` tokens, up to the share of all tokens.

    Raises:
        DataError: there is less text than that.
    """
    wanted = sum(len(row.ids) for row in rows) * replay.share / (1 - replay.share)
    texts = load_texts(replay.text)
    pieces: list[Rendered] = []
    tokens = 0
    for number, text in enumerate(texts, start=1):
        if tokens >= wanted:
            break
        made = document_pieces(renderer, text, limit, replay.weight)
        pieces += [replace(piece, name=f"replayed text {number}") for piece in made]
        tokens += sum(len(piece.ids) for piece in made)
    if tokens < wanted:
        got = f"{tokens:,} tokens in {len(texts):,} documents"
        raise too_short("tune", "text", got, wanted, replay.share)
    return pieces


def too_short(section: str, what: str, got: str, wanted: float, share: float) -> DataError:
    """The error that a section's replay has less ``what`` than its share."""
    return DataError(
        f"There is too little {what} to replay.",
        slug="replay-too-short",
        got=got,
        expected=f"{round(wanted):,} tokens, a share of {share:g}",
        fix=f"Lower {section}.replay.share, or name more {what}.",
    )


def document_pieces(
    renderer: Renderer, text: str, limit: int, weight: float = 1.0
) -> list[Rendered]:
    """Rows of at most ``limit`` tokens of one document.

    All is learnt but the first token of each, which has nothing before it.
    """
    (whole,) = renderer.documents([text])
    return [
        Rendered(tuple(piece.tolist()), (0.0, *([weight] * (len(piece) - 1))))
        for piece in cut_text(np.asarray(whole.ids, dtype=np.int32), limit, "split")
    ]


def document_rows(
    section: TuneSettings, prepared: Prepared, run: Run, texts: Sequence[str]
) -> tuple[TokenRows, dict[str, Any]]:
    """Rows of plain texts.

    Raises:
        DataError: nothing to learn, or too much lost.
    """
    policy = section.overflow or "split"
    named: list[tuple[str, np.ndarray]] = []
    with account(run, section, policy, "text") as found:
        for number, (text, ids) in enumerate(_tokenised(prepared, texts), start=1):
            found.step.enter()
            pieces = cut_text(ids, section.max_length, policy)
            learnt = sum(len(piece) - 1 for piece in pieces)
            found.settle(
                text,
                len(pieces),
                supervised=len(ids) - 1,
                lost=len(ids) - 1 - learnt,
                longest=len(ids),
            )
            named += [(f"text {number}", piece) for piece in pieces]
    counts = found.counts()
    run.write_json("rendering.json", {**counts, "notes": prepared.renderer.notes})
    return text_rows(named), {"rendering": counts}


def _tokenised(prepared: Prepared, texts: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    done = iter(texts)
    with console.progress(len(texts), "tokenise", "documents") as bar:
        while batch := list(islice(done, 2000)):
            for text, row in zip(batch, prepared.renderer.documents(batch), strict=True):
                yield text, np.asarray(row.ids, dtype=np.int32)
            bar.advance(len(batch))
