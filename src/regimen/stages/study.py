"""``study``: a claim about data or method, over a grid and seeds, with a verdict."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regimen import console, runs
from regimen.errors import EvaluationError, SettingsError
from regimen.layout import duration
from regimen.records import SCHEMA_VERSION, stable_hash
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.study import KINDS, StudySettings
from regimen.stages.common import MODULES
from regimen.stages.study_cost import Cost, estimate
from regimen.studies.adapters import AdaptersStudy
from regimen.studies.alignment import AlignmentStudy
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Measured, in_words
from regimen.studies.design import Findings, Question, Study
from regimen.studies.formatting import FormattingStudy
from regimen.studies.grid import GridStudy
from regimen.studies.rewrites import RewritesStudy
from regimen.studies.runner import Bench, run_cells
from regimen.studies.specialise import SpecialiseStudy
from regimen.studies.tasks import TasksStudy

STUDIES: Mapping[str, Study] = {
    "tasks": TasksStudy(),
    "formatting": FormattingStudy(),
    "specialise": SpecialiseStudy(),
    "adapters": AdaptersStudy(),
    "alignment": AlignmentStudy(),
    "rewrites": RewritesStudy(),
    "grid": GridStudy(),
}
"""By the section of the settings: what a study varies and what it makes of the results."""

assert set(STUDIES) == set(KINDS)

CELL_MODULES = (
    "regimen.stages.study_cell",
    "regimen.stages.study_drift",
    "regimen.stages.study_requests",
    "regimen.stages.study_rewrites",
    "regimen.stages.study_scores",
)


def study(settings: PipelineSettings, *, only_plan: bool = False) -> dict[str, Any]:
    """Run the study that ``settings.study`` describes, in ``settings.run``.

    Cells that are done are not made again, so a study that was killed goes on where it was. A cell
    that fails is told with its error, and the others go on.

    Args:
        settings: with a ``study`` section.
        only_plan: tell what it would cost, and run nothing but a short measurement.

    Returns:
        What ``--json`` prints: the content of ``study.json`` without its figures, and the files.

    Raises:
        SettingsError: there is no ``study`` section.
        EvaluationError: ``study-cells-failed`` after the report, where cells failed;
            ``study-no-cells`` where nothing can be compared.
    """
    section = settings.study
    if section is None:
        raise SettingsError(
            "The settings have no section for 'study'.",
            slug="section-missing",
            got=", ".join(settings.stages),
            fix="Add a 'study' section, or take a file of recipes/studies.",
        )
    kind, asked = STUDIES[section.kind], _question(settings, section)
    cells = kind.cells(asked)
    bench = _bench(section, Path(settings.run))
    expected = (*cells, *kind.further(asked, ()))
    cost = estimate(expected, bench)
    _tell(section, kind, expected, cost, bench)
    if only_plan:
        return {"kind": section.kind, "plan": cost.as_dict()}
    outcomes = _made(cells, bench)
    if more := kind.further(asked, outcomes):
        outcomes = _made((*cells, *more), bench, outcomes)
    title = settings.report.title if settings.report else ""
    body = _body(section, kind, asked, outcomes, kind.findings(asked, outcomes), title)
    files = _written(settings, bench, body)
    failed = [one for one in outcomes if one.state == "failed"]
    if failed:
        raise _failed(failed, files)
    return {**{name: body[name] for name in body if name != "figures"}, **files}


def _question(settings: PipelineSettings, section: StudySettings) -> Question:
    """The settings as the study's own dataclass, JSON-compatible throughout."""
    stages = settings.model_dump(mode="json", exclude_defaults=True)
    for name in ("run", "seed", "report", "study"):
        stages.pop(name, None)
    # a section whose every value is its default is still a section that was asked for
    stages |= {name: stages.get(name, {}) for name in settings.stages if name != "report"}
    return Question(
        settings=stages,
        seed=settings.seed,
        seeds=tuple(settings.seed + 1 + number for number in range(section.seeds)),
        tokens=section.tokens,
        gain=section.gain,
        suites=section.suites,
        options=getattr(section, section.kind).model_dump(mode="json"),
    )


def _bench(section: StudySettings, directory: Path) -> Bench:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = section.jobs or cores or 1
    modules = {name for names in MODULES.values() for name in names} | set(CELL_MODULES)
    return Bench(
        directory=directory,
        code=runs.source_key(tuple(sorted(modules))),
        jobs=jobs,
        threads=max(1, (cores or 1) // jobs),
    )


def _tell(
    section: StudySettings, kind: Study, cells: Sequence[Cell], cost: Cost, bench: Bench
) -> None:
    """The question and what the answer costs, before anything is trained."""
    console.heading(kind.question)
    console.table(
        "",
        ["cells", "done", "seeds", "tokens to train", "side by side", "time"],
        [
            [
                len(cells),
                cost.done,
                section.seeds,
                f"{cost.tokens:,}",
                f"{bench.jobs} x {bench.threads} threads",
                _how_long(cost),
            ]
        ],
    )
    if cost.open and not cost.seconds:
        console.line(f"the time is not known: {cost.measured}")


def _how_long(cost: Cost) -> str:
    if not cost.open:
        return "nothing to do"
    return "about " + duration(cost.seconds) if cost.seconds else "not known"


def _made(cells: Sequence[Cell], bench: Bench, settled: Sequence[Outcome] = ()) -> list[Outcome]:
    """Every cell, with a bar; what fails is told at once."""
    with console.progress(len(cells) - len(settled), "study", "cells") as bar:

        def told(outcome: Outcome) -> None:
            bar.advance(1)
            if outcome.state == "failed":
                console.line(f"cell {outcome.cell.name} failed: {outcome.error}")

        return run_cells(cells, bench, told, settled=settled)


def _usual_tokens(cells: Sequence[Cell], otherwise: int) -> int:
    """What most cells that train are trained on: a study may have a size of its own."""
    found = Counter(cell.tokens for cell in cells if cell.tokens)
    return found.most_common(1)[0][0] if found else otherwise


def _body(
    section: StudySettings,
    kind: Study,
    asked: Question,
    outcomes: Sequence[Outcome],
    findings: Findings,
    title: str,
) -> dict[str, Any]:
    """The object of ``study.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": section.kind,
        "title": title,
        "question": kind.question,
        "verdict": findings.verdict,
        "seeds": list(asked.seeds),
        "tokens": _usual_tokens([one.cell for one in outcomes], asked.tokens),
        "claims": [claim.as_dict() for claim in findings.claims],
        **findings.more,
        "tables": list(findings.tables),
        "figures": list(findings.figures),
        "cells": [
            {
                "name": one.cell.name,
                "factors": dict(one.cell.factors),
                "seed": one.cell.seed,
                "state": one.state,
                "error": one.error,
                "result": dict(one.result),
            }
            for one in outcomes
        ],
    }


def _written(settings: PipelineSettings, bench: Bench, body: Mapping[str, Any]) -> dict[str, Any]:
    """study.json and the report, with the manifest last; tables and verdict are told."""
    from regimen.reports.study import STUDY_FILE, write_study_report

    key = {"study": stable_hash(body), "code": bench.code}
    run = runs.Run.start(
        bench.directory,
        stage="study",
        key=key,
        settings=settings.model_dump(mode="json"),
        clear=False,
    )
    path = run.write_json(STUDY_FILE, body)
    report = write_study_report(body, run.path("report.html"))
    run.finish(volatile_files=["report.html"])
    for table in body["tables"]:
        console.table(table["title"], table["columns"], [_cells(row) for row in table["rows"]])
    console.table(
        "claims",
        ["claim", "measured", "verdict", "n", "clusters", "seeds"],
        [_claim_row(claim) for claim in body["claims"]],
    )
    console.line(body["verdict"])
    console.line(f"study: {path}; open {report}")
    return {"file": str(path), "report": str(report)}


def _cells(row: Sequence[Any]) -> list[Any]:
    return [
        "" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row
    ]


def _claim_row(claim: Mapping[str, Any]) -> list[Any]:
    found = Measured(**claim["measured"])
    words = in_words(found, unit="")
    return [claim["name"], words, claim["verdict"], found.n, found.clusters, found.seeds]


def _failed(failed: Sequence[Outcome], files: Mapping[str, Any]) -> EvaluationError:
    first = failed[0]
    return EvaluationError(
        f"{len(failed)} of the study's cells failed; the others are in the report.",
        slug="study-cells-failed",
        # the whole of each error was told when its cell failed, and is in the report
        got=f"{first.cell.name}: {first.error.partition(chr(10))[0]}",
        fix="Mend the cause and run the same command: what is done is not made again.",
        where=str(files["report"]),
    )
