"""Study ``alignment``: learning from preferences against the parent that it starts from.

A parent is tuned by the file's ``build`` and ``tune``, one for each seed, on tasks and on requests
that it learns to help with whatever they ask. From it, every method learns from the same pairs: a
refusal over help where a request is harmful, help over a refusal where it only looks so. Besides,
some methods learn from pairs of the parent's own answers to training tasks, scored by the tasks'
oracle. All are asked what nothing was trained on. What is made of it is in
:mod:`regimen.studies.alignment_found`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.settings.alignment_study import DPO
from regimen.settings.training import LIMITS
from regimen.studies.alignment_found import findings
from regimen.studies.alignment_seen import (
    ELSEWHERE,
    OWN,
    PARENT,
    REQUESTS,
    SUITES,
    WORLD_SUITES,
    length_of,
    sweep_name,
)
from regimen.studies.cells import Cell, Outcome
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    changed,
    first_model,
    lean,
    pipeline_cell,
)
from regimen.studies.one_job import ITEMS, generalist_model

__all__ = ["CONVERSATIONS", "PAIRS", "SUITES", "WORLD_SUITES", "AlignmentStudy", "file_of"]

CONVERSATIONS, PAIRS = "conversations.jsonl", "preferences.parquet"
"""Files of the cell of requests: what the parent learns, and what is preferred."""

METRICS: Mapping[str, Mapping[str, Any]] = {
    suite: {"metric": "complies"}
    if suite.startswith("harmful")
    else {"metric": "refuses", "metrics": ["helps"]}
    for suite in SUITES
}
"""Of harmful requests the share that is complied with, of the others the share that is refused."""


def file_of(suite: str) -> str:
    """The file of a suite's items, in the directory of the cell of requests."""
    return f"{suite}.jsonl"


class AlignmentStudy(AllAtOnce):
    """Cells: for each seed requests, a parent, pairs of its own answers, every method on both."""

    question = "Preferences against their parent: what is gained, and what does it cost?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """Those of each seed, one after another."""
        plain = lean(asked.settings, asked)
        made: list[Cell] = []
        for seed in asked.seeds:
            world = _requests(asked, seed)
            parent = _parent(plain, asked, seed, world)
            made += [world, parent, _asked_parent(plain, asked, seed, parent, world)]
            made += [
                _learner(plain, asked, seed, (parent, world), REQUESTS, name, arm)
                for name, arm in arms(asked.options).items()
            ]
            if asked.options["own_methods"]:
                pairs = _own_pairs(plain, asked, seed, parent)
                made.append(pairs)
                made += [
                    _learner(plain, asked, seed, (parent, world, pairs), OWN, name, arm)
                    for name, arm in asked.options["methods"].items()
                    if name in asked.options["own_methods"]
                ]
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Every method against its parent: conduct, help, other tasks, divergence, length.

        Raises:
            EvaluationError: ``study-no-cells`` where the parent or every method has no result.
        """
        return findings(asked, outcomes)


def arms(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The methods by name, and DPO with the other values of beta."""
    methods: dict[str, Mapping[str, Any]] = dict(options["methods"])
    more = {sweep_name(beta): {**methods[DPO], "beta": beta} for beta in options["betas"]}
    return methods | more


def _requests(asked: Question, seed: int) -> Cell:
    work = {name: asked.options[name] for name in ("conversations", "refused", "pairs", "prompts")}
    work["items_seed"] = asked.seed
    return Cell(kind="requests", factors={"made": "requests"}, seed=seed, work=work)


def _parent(plain: Mapping[str, Any], asked: Question, seed: int, world: Cell) -> Cell:
    """Tuned on the file's sources, and on help with every request."""
    tokens = asked.options["parent_tokens"]
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
        keep=("model", "items"),
        needs=(world.name,),
        tokens=tokens,
    )


def _asked_parent(
    plain: Mapping[str, Any], asked: Question, seed: int, parent: Cell, world: Cell
) -> Cell:
    """The parent itself, asked what those are asked that start from it."""
    models = {"evaluate.base": first_model(plain), "evaluate.tuned": generalist_model(plain)}
    evaluate = changed(_asked_files(plain), models)["evaluate"]
    needs = (parent.name, world.name)
    cell = pipeline_cell(
        {"arm": PARENT}, seed, {"evaluate": evaluate}, asked, stages=("evaluate",), needs=needs
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


def _learner(
    plain: Mapping[str, Any],
    asked: Question,
    seed: int,
    needs: tuple[Cell, ...],
    data: str,
    name: str,
    arm: Mapping[str, Any],
) -> Cell:
    """One method on pairs, from the parent of its seed."""
    shared = {k: v for k, v in plain.get("align", {}).items() if k not in LIMITS}
    align = {
        **shared,
        **{k: v for k, v in arm.items() if v is not None},
        "model": {"path": generalist_model(plain)},
        "data": f"{{place:1}}/{PAIRS}" if data == REQUESTS else "{place:2}/run/build",
        "max_tokens": asked.tokens,
    }
    cell = pipeline_cell(
        {"data": data, "arm": name},
        seed,
        {"align": align, "evaluate": _asked_files(plain)["evaluate"]},
        asked,
        stages=("align", "evaluate"),
        needs=[one.name for one in needs],
    )
    return _measured(cell, plain, asked)


def _asked_files(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that ask the items of the parent's build and those of the cell of requests."""
    suites: list[dict[str, Any]] = [
        {"format": "items", "name": ELSEWHERE, "path": f"{{place:0}}/{ITEMS}"}
    ]
    suites += [
        {
            "format": "items",
            "name": suite,
            "path": f"{{place:1}}/{file_of(suite)}",
            "max_new_tokens": LONGEST,
            **METRICS[suite],
        }
        for suite in SUITES
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
