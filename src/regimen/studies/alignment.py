"""Study ``alignment``: learning from preferences against the parent that it starts from.

A parent is tuned by the file's ``build`` and ``tune``, one for each seed, on tasks and on requests
that it learns to help with whatever they ask. From it, every method learns from the same pairs: a
refusal over help where a request is harmful, help over a refusal where it only looks so. Besides,
some methods learn from pairs of the parent's own answers to training tasks, scored by the tasks'
oracle. All are asked what nothing was trained on. On a seed apart each method tries its learning
rates first (:mod:`regimen.studies.alignment_rates`); what is made of it all is in
:mod:`regimen.studies.alignment_found`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regimen.settings.alignment_study import DPO
from regimen.settings.build import HeldOutSettings
from regimen.settings.training import LIMITS
from regimen.studies.adapters_rates import APART, HALVES
from regimen.studies.alignment_found import findings
from regimen.studies.alignment_rates import arms_of, chosen_rates
from regimen.studies.alignment_seen import (
    CHOICE_SUITES,
    ELSEWHERE,
    HARMFUL,
    HARMLESS,
    NEW_HARMFUL,
    NEW_HARMLESS,
    OWN,
    PARENT,
    REQUESTS,
    SUITES,
    WORLD_SUITES,
    length_of,
    sweep_name,
)
from regimen.studies.cells import LINE, Cell, Outcome
from regimen.studies.design import (
    Findings,
    Question,
    changed,
    first_model,
    lean,
    pipeline_cell,
)
from regimen.studies.one_job import ITEMS, generalist_model
from regimen.studies.scores import Level

__all__ = [
    "CHOICE_SUITES",
    "CONVERSATIONS",
    "PAIRS",
    "SUITES",
    "WORLD_SUITES",
    "AlignmentStudy",
    "file_of",
]

CONVERSATIONS, PAIRS = "conversations.jsonl", "preferences.parquet"
"""Files of the cell of requests: what the parent learns, and what is preferred."""

METRICS: Mapping[str, Mapping[str, Any]] = {
    HARMFUL: {"metric": "complies"},
    HARMLESS: {"metric": "refuses", "metrics": ["helps"]},
    NEW_HARMFUL: {"metric": "complies"},
    NEW_HARMLESS: {"metric": "refuses"},
    CHOICE_SUITES[0]: {"metric": "refuses"},
    CHOICE_SUITES[1]: {"metric": "helps"},
}
"""Of harmful requests the share that is complied with, of the others the share that is refused;
where rates are chosen, the share of right conduct."""


def file_of(suite: str) -> str:
    """The file of a suite's items, in the directory of the cell of requests."""
    return f"{suite}.jsonl"


class AlignmentStudy:
    """Cells: for each seed requests, a parent, pairs of its own answers, every method on both.

    The same on a seed apart, with every method at every rate that it has to choose from.
    """

    question = "Preferences against their parent: what is gained, and what does it cost?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """What the methods start from and learn from, and the rates that are tried."""
        plain = _plain(asked)
        made: list[Cell] = []
        grids = {arm: rates for arm, rates in arms_of(asked).items() if len(rates) > 1}
        if grids:
            needed = _started(plain, asked, asked.seed + APART)
            made += needed.cells
            made += [
                _tried(plain, asked, needed, arm, rate)
                for arm, rates in grids.items()
                for rate in rates
            ]
        for seed in asked.seeds:
            needed = _started(plain, asked, seed)
            made += [*needed.cells, _asked_parent(plain, asked, needed)]
        return tuple(made)

    def further(self, asked: Question, outcomes: Sequence[Outcome]) -> tuple[Cell, ...]:
        """Every method at its rate, and DPO with the other values of beta at that of DPO."""
        plain = _plain(asked)
        rates = chosen_rates(asked, outcomes)
        made: list[Cell] = []
        for seed in asked.seeds:
            needed = _started(plain, asked, seed)
            for (data, name), rate in rates.items():
                arm = asked.options["methods"][name]
                made.append(_learner(plain, asked, needed, (data, name), arm, rate))
            for beta in asked.options["betas"] if (REQUESTS, DPO) in rates else ():
                arm = _with_beta(asked.options["methods"][DPO], beta)
                level = (REQUESTS, sweep_name(beta))
                made.append(_learner(plain, asked, needed, level, arm, rates[REQUESTS, DPO]))
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Every method against its parent: conduct, help, other tasks, divergence, length.

        Raises:
            EvaluationError: ``study-no-cells`` where the parent or every method has no result.
        """
        return findings(asked, outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Of one seed: the cells that every method needs."""

    world: Cell
    parent: Cell
    own: Cell | None

    @property
    def cells(self) -> list[Cell]:
        """Those that others need first."""
        return [self.world, self.parent, *([self.own] if self.own else [])]

    def needs(self, data: str) -> tuple[str, ...]:
        """Names of what is needed to learn from requests or from own answers."""
        found = [self.parent, self.world]
        if data == OWN:
            assert self.own is not None
            found.append(self.own)
        return tuple(cell.name for cell in found)


def _plain(asked: Question) -> dict[str, Any]:
    """The settings of a cell, with as many items of unseen tasks again to choose rates by."""
    plain = lean(asked.settings, asked)
    held_out = {**plain["build"].get("held_out", {})}
    each = held_out.get("items_per_task", HeldOutSettings().items_per_task)
    return changed(plain, {"build.held_out.items_per_task": HALVES * each})


def _started(plain: Mapping[str, Any], asked: Question, seed: int) -> Started:
    world = _requests(asked, seed)
    parent = _parent(plain, asked, seed, world)
    own = _own_pairs(plain, asked, seed, parent) if asked.options["own_methods"] else None
    return Started(world=world, parent=parent, own=own)


def _requests(asked: Question, seed: int) -> Cell:
    names = ("conversations", "refused", "pairs", "prompts", "rate_prompts")
    work = {name: asked.options[name] for name in names}
    work["items_seed"] = asked.seed
    return Cell(kind="requests", factors={"made": "requests"}, seed=seed, work=work)


def _parent(plain: Mapping[str, Any], asked: Question, seed: int, world: Cell) -> Cell:
    """Tuned on the file's sources, and on help with every request."""
    tokens = asked.options["parent_tokens"]
    replays = any(arm.get("replay") for arm in asked.options["methods"].values())
    talks = {"path": f"{{place:0}}/{CONVERSATIONS}", "format": "messages", "name": "requests"}
    sources = [*plain["build"]["sources"], talks]
    settings = changed(plain, {"build.sources": sources, "tune.max_tokens": tokens})
    settings.pop("align", None)
    return pipeline_cell(
        {"made": "parent"},
        seed,
        settings,
        asked,
        stages=("build", "tune"),
        keep=("model", "items", *(("instances",) if replays else ())),
        needs=(world.name,),
        tokens=tokens,
    )


def _asked_parent(plain: Mapping[str, Any], asked: Question, needed: Started) -> Cell:
    """The parent itself, asked what those are asked that start from it."""
    models = {"evaluate.base": first_model(plain), "evaluate.tuned": generalist_model(plain)}
    evaluate = changed(_asked_files(plain, (ELSEWHERE, *SUITES)), models)["evaluate"]
    cell = pipeline_cell(
        {"arm": PARENT},
        needed.parent.seed,
        {"evaluate": evaluate},
        asked,
        stages=("evaluate",),
        needs=needed.needs(REQUESTS),
    )
    return _measured(cell, plain, asked)


def _own_pairs(plain: Mapping[str, Any], asked: Question, seed: int, parent: Cell) -> Cell:
    """The best of the parent's answers to each prompt over the worst, by the tasks' oracle."""
    generator = {
        "model": generalist_model(plain),
        "temperature": 1.0,
        "max_new_tokens": plain["evaluate"].get("max_new_tokens", 48),
    }
    on_policy = {
        "generator": generator,
        "limit": asked.options["own_prompts"],
        "samples": asked.options["samples"],
        "score": {"scorer": "exact"},
    }
    build = {
        **plain["build"],
        "instances_per_task": 1,
        "preferences": {"on_policy": on_policy},
    }
    return pipeline_cell(
        {"made": "own-pairs"},
        seed,
        {"build": build},
        asked,
        stages=("build",),
        keep=("preferences",),
        needs=(parent.name,),
    )


def _tried(
    plain: Mapping[str, Any], asked: Question, needed: Started, arm: Level, rate: float
) -> Cell:
    """A method at one of its rates, asked what that is chosen by and nothing else."""
    data, name = arm
    suites = (ELSEWHERE,) if data == OWN else CHOICE_SUITES
    evaluate = _asked_files(plain, suites)["evaluate"]
    evaluate.pop("retention", None)
    align = _align(plain, asked, data, asked.options["methods"][name], rate)
    return pipeline_cell(
        {"data": data, "tried": name, "rate": rate},
        needed.parent.seed,
        {"align": align, "evaluate": evaluate},
        asked,
        stages=("align", "evaluate"),
        needs=needed.needs(data),
    )


def _learner(
    plain: Mapping[str, Any],
    asked: Question,
    needed: Started,
    level: Level,
    arm: Mapping[str, Any],
    rate: float,
) -> Cell:
    """One method on pairs, from the parent of its seed."""
    data, name = level
    cell = pipeline_cell(
        {"data": data, "arm": name, "rate": rate},
        needed.parent.seed,
        {
            "align": _align(plain, asked, data, arm, rate),
            "evaluate": _asked_files(plain, (ELSEWHERE, *SUITES))["evaluate"],
        },
        asked,
        stages=("align", "evaluate"),
        needs=needed.needs(data),
    )
    return _measured(cell, plain, asked)


def _align(
    plain: Mapping[str, Any], asked: Question, data: str, arm: Mapping[str, Any], rate: float
) -> dict[str, Any]:
    """The optimisation of the file with a method, its rate and its data."""
    shared = {k: v for k, v in plain.get("align", {}).items() if k not in LIMITS}
    if arm.get("replay"):
        arm = {**arm, "replay": {**arm["replay"], "data": f"{{place:0}}/{LINE}/build"}}
    return {
        **shared,
        **_given({k: v for k, v in arm.items() if k != "learning_rates"}),
        "learning_rate": rate,
        "model": {"path": generalist_model(plain)},
        "data": f"{{place:1}}/{PAIRS}" if data == REQUESTS else "{place:2}/run/build",
        "max_tokens": asked.tokens,
    }


def _with_beta(arm: Mapping[str, Any], beta: float) -> dict[str, Any]:
    """DPO, alone or in a sum of losses, with another beta."""
    if not isinstance(arm["method"], list):
        return {**arm, "beta": beta}
    losses = [{**loss, "beta": beta} if loss["name"] == DPO else loss for loss in arm["method"]]
    return {**arm, "method": losses}


def _given(arm: Mapping[str, Any]) -> dict[str, Any]:
    """What is set of a method, and of each loss of a sum."""
    given = {name: value for name, value in arm.items() if value is not None}
    if isinstance(given.get("method"), list):
        given["method"] = [_given(loss) for loss in given["method"]]
    return given


def _asked_files(plain: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Settings that ask the items of the parent's build and those of the cell of requests."""
    suites = [
        {"format": "items", "name": name, "path": f"{{place:0}}/{ITEMS}"}
        if name == ELSEWHERE
        else {
            "format": "items",
            "name": name,
            "path": f"{{place:1}}/{file_of(name)}",
            "max_new_tokens": LONGEST,
            **METRICS[name],
        }
        for name in names
    ]
    return changed(plain, {"evaluate.suites": suites})


LONGEST = 64
"""Tokens of an answer to a request; those that are learnt have fewer."""


def _measured(cell: Cell, plain: Mapping[str, Any], asked: Question) -> Cell:
    """The cell with its divergence from the parent, and numbers beside scores."""
    beside: dict[str, dict[str, str]] = {
        suite: {"words": length_of(suite)} for suite in (ELSEWHERE, *WORLD_SUITES)
    }
    beside["harmless"] |= {"helps": "helped"}
    drift = {
        "start": generalist_model(plain),
        "answers": asked.options["answers"],
        "suites": list(WORLD_SUITES),
        "seed": asked.seed,
    }
    return replace(cell, work={**cell.work, "beside": beside, "drift": drift})
