"""What a reader should know first: the verdict, its limits, what deserves a look, what is missing.

All of it is plain text with the anchor of the section that shows the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from regimen.reports.contamination import contamination_findings, contamination_limits
from regimen.reports.evidence import Estimate, Evaluation, Group, Rates, find_pair
from regimen.reports.files import Json, number
from regimen.reports.rundata import RunData
from regimen.reports.theme import system
from regimen.reports.wording import (
    answers_line,
    bits_difference,
    count,
    evidence_line,
    percent,
    points,
    things,
    title,
)

FEW_CLUSTERS = 10
STOP_RATE = 0.95
RETENTION_LOSS = 0.05

OURS = ("tuned", "aligned")
FAULTS = {
    "failed": "failed and counted as wrong",
    "empty": "without text",
    "scorer_errors": "could not be scored and counted as wrong",
}
MEASURES = {"compliance": "Harmful compliance", "over_refusal": "Over-refusal"}

Level = Literal["bad", "warn", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that deserves a look. ``anchor`` is the section with the evidence."""

    level: Level
    text: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first suite in one large sentence with its evidence."""

    headline: str
    evidence: str


def verdict(run: RunData) -> Verdict:
    """The verdict of a run; without an evaluation, what was done and that it proves nothing."""
    if run.evaluation is not None and run.evaluation.suites:
        suite, subject = run.evaluation.suites[0], run.evaluation.subject
        return Verdict(
            headline=answers_line(suite, subject),
            evidence=evidence_line(suite.pair(subject, "base"), suite),
        )
    if run.training:
        return Verdict(
            headline="Trained, not evaluated.",
            evidence=f"{_trained(run)} A falling loss is no evidence that the answers are better.",
        )
    built = run.card.instances if run.card is not None else None
    kept = run.ledger[-1].kept if run.ledger else None
    number_built = built if built is not None else kept
    return Verdict(
        headline="Data built, no model trained."
        if number_built is None
        else f"{count(number_built)} training instances built, no model trained.",
        evidence="This report shows what went in and what was removed.",
    )


def _trained(run: RunData) -> str:
    parts = []
    for stage, training in run.training.items():
        losses = [x for row in training.rows if (x := number(row.get("loss"))) is not None]
        steps = [x for row in training.rows if (x := number(row.get("step"))) is not None]
        if losses and steps:
            parts.append(
                f"{title(stage)}: {things(int(steps[-1]), 'step')}, "
                f"loss {losses[0]:.2f} to {losses[-1]:.2f}."
            )
    return " ".join(parts)


def limits(run: RunData) -> list[str]:
    """What this run cannot tell, in sentences."""
    evaluation = run.evaluation
    if evaluation is None or not evaluation.suites:
        return ["Whether the model got better or worse at anything: nothing was evaluated."]
    found = [text for text in (_too_small(evaluation), *_few_clusters(evaluation)) if text]
    if evaluation.seeds == 1:
        found.append(
            "How much another training seed would change the result: this is one seed, and the "
            "intervals cover other items and tasks only."
        )
    elif evaluation.seeds is None:
        found.append("How much a training seed matters: the evaluation names no number of seeds.")
    found += contamination_limits(evaluation.contamination)
    checked = any(one.checked for one in evaluation.contamination.values())
    if run.ledger and not checked and not any("leak" in step.name.lower() for step in run.ledger):
        found.append("Whether held-out items were in the training data: no leak check was run.")
    judged = {pair.suite for pair in run.judged.pairs} if run.judged is not None else set()
    exact = [suite for suite in evaluation.suites if suite.metric == "exact"]
    if exact:
        softer = any("rouge_l" in s.metrics for suite in exact for s in suite.systems.values())
        found.append(
            "Whether an answer in another form was right: exact match counts it as wrong"
            + (", which ROUGE-L softens." if softer else ".")
        )
    found += [
        f"How good the answers to {suite.name.replace('_', ' ')} are: only a judge can score them."
        for suite in evaluation.suites
        if not suite.metric and suite.name not in judged
    ]
    if run.judged is not None and run.judged.people is None:
        found.append(
            "Whether people prefer what the judge prefers: its agreement with them is unknown."
        )
    return found


def _clusters(suite: Group, subject: str) -> int | None:
    pair = suite.pair(subject, "base")
    return (pair.clusters if pair else None) or suite.clusters


def _too_small(evaluation: Evaluation) -> str:
    """The smallest difference that each suite resolves, in one sentence."""
    parts = []
    for suite in evaluation.suites:
        pair = suite.pair(evaluation.subject, "base")
        few = (_clusters(suite, evaluation.subject) or FEW_CLUSTERS) < FEW_CLUSTERS
        if pair is not None and pair.resolvable is not None and not few:
            size = points(Estimate(value=pair.resolvable)).lstrip("+")
            parts.append(f"{size} on {suite.name.replace('_', ' ')}")
    if not parts:
        return ""
    return (
        f"Whether there are differences smaller than {', '.join(parts)}: with this many tasks, "
        "a smaller one would be missed in more than 1 run of 5."
    )


def _few_clusters(evaluation: Evaluation) -> Iterator[str]:
    for suite in evaluation.suites:
        clusters = _clusters(suite, evaluation.subject)
        if clusters is not None and clusters < FEW_CLUSTERS:
            yield (
                f"Anything firm about {suite.name.replace('_', ' ')}: it has "
                f"{things(clusters, 'cluster')}, and under {FEW_CLUSTERS} the verdict stays "
                "\N{LEFT DOUBLE QUOTATION MARK}no evidence\N{RIGHT DOUBLE QUOTATION MARK}."
            )


def findings(run: RunData) -> list[Finding]:
    """What deserves a look, the worst first."""
    found = list(_data_findings(run))
    for stage, training in run.training.items():
        if training.unreadable:
            lines = things(training.unreadable, "line")
            found.append(
                Finding(
                    level="warn",
                    text=f"{lines} of {stage}/metrics.jsonl could not be read.",
                    anchor="curves",
                )
            )
    if run.evaluation is not None:
        found += _change_findings(run.evaluation)
        seen = contamination_findings(run.evaluation.contamination, run.evaluation.subject)
        found += [Finding(level=level, text=text, anchor="answers") for level, text in seen]
        found += _pair_findings(run.evaluation)
        found += _conduct_findings(run.evaluation)
        found += _cost_findings(run.evaluation)
    return sorted(found, key=lambda finding: ("bad", "warn", "note").index(finding.level))


def _data_findings(run: RunData) -> Iterator[Finding]:
    for step in run.ledger:
        if step.unexplained:
            text = f"The ledger does not reconcile at {step.name}: {step.unexplained} rows."
            yield Finding(level="bad", text=text, anchor="data")
    failed = sum(n for step in run.ledger for n in step.failed.values())
    if failed:
        text = f"{things(failed, 'row')} failed while the data was built."
        yield Finding(level="warn", text=text, anchor="data")
    leaked = sum(sum(s.removed.values()) for s in run.ledger if "leak" in s.name.lower())
    if leaked:
        text = f"{things(leaked, 'row')} removed because held-out items leak into them."
        yield Finding(level="note", text=text, anchor="data")


def unchanged(facts: Json) -> bool:
    """Whether a model answers exactly as its base does, by the recorded facts."""
    known = [number(facts.get(key)) for key in ("answers_differing", "mean_abs_delta_logp")]
    return any(x is not None for x in known) and all(x in (None, 0.0) for x in known)


def _change_findings(evaluation: Evaluation) -> Iterator[Finding]:
    if unchanged(evaluation.changed):
        text = "The tuned model answers exactly as its base does."
        yield Finding(level="bad", text=text, anchor="changed")


def _pair_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Losses of each tuned system, and baselines that the subject is not shown to beat."""
    worse: dict[str, list[str]] = {}
    even: dict[str, list[str]] = {}
    for suite in evaluation.suites:
        name = suite.name.replace("_", " ")
        for pair in suite.paired:
            other = system(pair.second).label
            if pair.verdict == "worse" and pair.first in OURS:
                text = f"{points(pair.difference)} against {other} on {name}"
                worse.setdefault(pair.first, []).append(text)
            elif pair.first == evaluation.subject and pair.verdict == "no difference shown":
                even.setdefault(name, []).append(other)
    for first, texts in worse.items():
        label = title(system(first).label)
        yield Finding(level="bad", text=f"{label} is worse: {'; '.join(texts)}.", anchor="systems")
    if even:
        listed = "; ".join(f"{', '.join(others)} on {name}" for name, others in even.items())
        text = f"{title(system(evaluation.subject).label)} is not shown to beat {listed}."
        yield Finding(level="warn", text=text, anchor="systems")


def _conduct_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Answers that do not end, are empty, failed or could not be scored; a line per system."""
    stops: dict[str, list[str]] = {}
    faults: dict[tuple[str, str], int] = {}
    for suite in evaluation.suites:
        for name, score in suite.systems.items():
            stop = score.metrics.get("stop_rate")
            if name in OURS and stop is not None and stop < STOP_RATE:
                text = f"{percent(stop)} on {suite.name.replace('_', ' ')}"
                stops.setdefault(name, []).append(text)
            for fault, n in score.faults.items():
                if fault != "empty" or name in OURS:
                    faults[name, fault] = faults.get((name, fault), 0) + n
    for name, texts in stops.items():
        text = f"{title(name)} does not end all of its answers by itself: {', '.join(texts)}."
        yield Finding(level="warn", text=text, anchor="systems")
    for (name, fault), n in faults.items():
        text = f"{title(system(name).label)}: {things(n, 'answer')} {FAULTS[fault]}."
        yield Finding(level="warn", text=text, anchor="systems")


def _cost_findings(evaluation: Evaluation) -> Iterator[Finding]:
    for rates in evaluation.safety:
        yield from _rate_findings(rates)
    kept = evaluation.retention
    for text, rates in ({"plain text": kept, **kept.texts} if kept else {}).items():
        yield from _retention_findings(text, rates)


def _retention_findings(text: str, rates: Rates) -> Iterator[Finding]:
    """Systems that need clearly more bits per byte than their base, with the evidence for it."""
    base = rates.systems.get("base")
    for name, value in rates.systems.items():
        if not base or name == "base" or value.value <= base.value * (1 + RETENTION_LOSS):
            continue
        pair = find_pair(rates.paired, name, "base")
        difference = pair.difference if pair else Estimate(value=value.value - base.value)
        cost = f"needs {bits_difference(difference, base.value)} more bits per byte of {text}"
        word = f" ({pair.verdict})" if pair and pair.verdict else ""
        who = title(system(name).label)
        yield Finding(level="warn", text=f"{who} {cost} than its base{word}.", anchor="safety")


def _rate_findings(rates: Rates) -> Iterator[Finding]:
    for pair in rates.paired:
        if pair.verdict != "worse" or pair.second not in ("base", "tuned"):
            continue
        after, before = rates.systems.get(pair.first), rates.systems.get(pair.second)
        text = f"{MEASURES[rates.name]} of {system(pair.first).label} is higher"
        if after and before:
            text += f": {percent(after.value)} against {percent(before.value)}"
        yield Finding(level="warn", text=f"{text} of {system(pair.second).label}.", anchor="safety")
