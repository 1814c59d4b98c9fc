"""The Markdown twin of the page: the same findings, for pull requests and terminals.

At most 300 lines. Text from data is escaped, so that it cannot become markup where Markdown is
rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from regimen.files import atomic_write
from regimen.reports.absent import missing
from regimen.reports.buckets import AnswerRow
from regimen.reports.evidence import BUCKETS, Evaluation, Group, find_pair
from regimen.reports.findings import findings, limits, unchanged, verdict
from regimen.reports.ledger import Step
from regimen.reports.rundata import RunData, read_run
from regimen.reports.sections.answers import sampled
from regimen.reports.sections.behaviour import NAMES, bits
from regimen.reports.sections.closing import FACTS, commands, resources
from regimen.reports.sections.overview import change_facts
from regimen.reports.theme import ordered, system
from regimen.reports.wording import (
    BASIS,
    NONE,
    answers_line,
    basis,
    bits_difference,
    count,
    evidence_line,
    families_line,
    interval,
    percent,
    points,
    probability,
    title,
)

MOST_LINES = 300
MOST_GROUPS = 24
MOST_REASONS = 40
MOST_ANSWERS = {"regressed": 6, "fixed": 4, "still_wrong": 4, "still_right": 2}
CELL = 60

Block = list[str]


def write_markdown(
    run_directory: Path | str, output: Path | str | None = None, *, title: str = ""
) -> Path:
    """Write ``report.md`` of a run: the page in at most 300 lines, without figures.

    Args:
        run_directory: a directory that ``regimen run`` or one of its stages has written.
        output: the file to write; ``report.md`` in the run directory by default.
        title: the name of the run; its directory's name by default.

    Raises:
        RunError: there is no run, nothing to report on, or a file of it cannot be read.
    """
    run = read_run(Path(run_directory), title=title)
    path = Path(output) if output else run.directory / "report.md"
    return atomic_write(path, markdown(run))


def markdown(run: RunData) -> str:
    """The report as Markdown text that ends in a line break."""
    blocks = [*_top(run), *_evaluation(run), *_data(run), *_training(run), *_reproduce(run)]
    lines = "\n\n".join("\n".join(block) for block in blocks if block).splitlines()
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 2], "", "The rest is in report.html."]
    return "\n".join(lines) + "\n"


def plain(text: str, limit: int = 0) -> str:
    """Text as Markdown that means itself, on one line, cut to ``limit`` characters if given."""
    flat = " ".join(text.split())
    if limit and len(flat) > limit:
        flat = flat[: limit - 1] + "…"
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", flat)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Block:
    """A table whose first column is text and whose cells are Markdown already."""
    body = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body] if body else []


def _top(run: RunData) -> list[Block]:
    found = verdict(run)
    facts = [f"run {run.name}"] + ([f"model {run.model}"] if run.model else [])
    blocks = [
        [f"# {plain(found.headline)}"],
        [plain(found.evidence)],
        [plain(", ".join(facts)) + "."],
    ]
    blocks += _gate(run)
    alerts = [f"- **{finding.level}**: {plain(finding.text)}" for finding in findings(run)]
    if alerts:
        blocks += [["## Worth a look"], alerts]
    blocks += [["## What this run cannot tell you"], [f"- {plain(text)}" for text in limits(run)]]
    absent = [f"- {title(name)}, written by `{verb}`" for name, verb in missing(run)]
    return [*blocks, ["## Missing from this run"], absent] if absent else blocks


def _gate(run: RunData) -> list[Block]:
    """The gate's word and its checks; nothing where no gate was asked for."""
    gate = run.gate
    if gate is None:
        return []
    rows = []
    for check in gate.checks:
        asked = [check.outcome, plain(check.what), plain(check.requirement)]
        rows.append([*asked, check.value, check.basis, plain(check.reason)])
    head = ["Outcome", "Check", "Required", "Value [95%]", BASIS, "Why"]
    unchecked = [f"- Not checked: {plain(text)}." for text in gate.unchecked]
    return [[f"## {plain(gate.headline)}"], _table(head, rows), unchecked]


def _evaluation(run: RunData) -> list[Block]:
    evaluation = run.evaluation
    if evaluation is None:
        return []
    blocks: list[Block] = []
    if evaluation.changed:
        answer = "No." if unchanged(evaluation.changed) else "Yes."
        facts = [f"- {plain(name)}: {value}" + (f" ({meaning})" if meaning else "")
                 for name, value, meaning in change_facts(evaluation.changed)]  # fmt: skip
        blocks += [["## Did anything change?"], [answer], facts]
    if evaluation.suites:
        blocks.append(["## Systems side by side"])
    for suite in evaluation.suites:
        blocks += _suite(suite, evaluation)
    blocks += _moved(run, evaluation)
    return [*blocks, *_behaviour(evaluation)]


def _suite(suite: Group, evaluation: Evaluation) -> list[Block]:
    subject = evaluation.subject
    pair = suite.pair(subject, "base")
    text = [answers_line(suite, subject), evidence_line(pair, suite), families_line(suite, subject)]
    rows = []
    for name in ordered(list(suite.systems)):
        found, against = suite.systems[name], suite.pair(subject, name)
        rows.append(
            [
                system(name).label,
                interval(found.score),
                percent(found.metrics.get("rouge_l")),
                percent(found.metrics.get("stop_rate")),
                points(against.difference, unit=False) if against else NONE,
                against.verdict if against else NONE,
                basis(against),
            ]
        )
    head = ["System", "Score [95%]", "ROUGE-L", "Stops by itself"]
    head += [f"{title(subject)} minus this, points", "Verdict", BASIS]
    blocks = [
        [f"### {plain(title(suite.name))}"],
        [" ".join(plain(part) for part in text if part)],
        _table(head, rows),
    ]
    for by, groups in (("family", suite.families), ("language", suite.languages)):
        blocks.append(_groups(groups, by, subject))
    return blocks


def _groups(groups: Sequence[Group], by: str, subject: str) -> Block:
    gains = [(group, gain) for group in groups if (gain := group.gain(subject)) is not None]
    if len(gains) < 2:
        return []
    gains.sort(key=lambda pair: (-pair[1].value, pair[0].name))
    rows = [
        [
            plain(group.name.replace("_", " ")),
            count(group.items),
            percent(group.score("base")),
            percent(group.score(subject)),
            points(gain, unit=False),
            pair.verdict if (pair := group.pair(subject, "base")) else NONE,
            basis(pair),
        ]
        for group, gain in gains[:MOST_GROUPS]
    ]
    if len(gains) > MOST_GROUPS:
        rows.append([f"{len(gains) - MOST_GROUPS} more", *[NONE] * 6])
    head = [title(by), "Items", "Base", title(subject), "Gain, points", "Verdict (Holm)", BASIS]
    return _table(head, rows)


def _moved(run: RunData, evaluation: Evaluation) -> list[Block]:
    rows = [
        [
            plain(title(suite.name)),
            f"{system(change.before).label} to {system(change.after).label}",
            *(count(change.counts[name]) for name in BUCKETS),
            NONE if change.p is None else probability(change.p),
        ]
        for suite in evaluation.suites
        for change in suite.changes
        if (change.before, change.after)
        in (("base", evaluation.subject), (evaluation.subject, "aligned"))
    ]
    head = ["Suite", "Change", *(title(name) for name in BUCKETS), "McNemar"]
    blocks = [["## What moved, item by item"], _table(head, rows)] if rows else []
    answers = sampled(run)
    shown = [
        row
        for name in BUCKETS
        for row in [row for row in answers if row.bucket == name][: MOST_ANSWERS[name]]
    ]
    return [*blocks, _answers(shown, evaluation.subject)] if shown else blocks


def _answers(rows: Sequence[AnswerRow], subject: str) -> Block:
    def cell(row: AnswerRow, name: str) -> str:
        given = row.answers.get(name)
        if given is None:
            return NONE
        mark = "\N{CHECK MARK}" if given.score >= row.right_at else "\N{MULTIPLICATION SIGN}"
        return f"{mark} {plain(given.text or given.error, CELL)}"

    return _table(
        ["Bucket", "Prompt", "Reference", "Base", title(subject)],
        [
            [
                title(row.bucket),
                plain(row.prompt, 2 * CELL),
                plain(row.reference, CELL),
                cell(row, "base"),
                cell(row, subject),
            ]
            for row in rows
        ],
    )


def _behaviour(evaluation: Evaluation) -> list[Block]:
    rows = []
    for rates in evaluation.safety:
        for name in ordered(list(rates.systems)):
            pair = find_pair(rates.paired, name, "base")
            difference = points(pair.difference) if pair else NONE
            verdict = (pair.verdict if pair else "") or NONE
            value = interval(rates.systems[name])
            measure = NAMES[rates.name][0]
            rows.append([measure, system(name).label, value, difference, verdict, basis(pair)])
    kept = evaluation.retention
    for text, own in ({"": kept, **kept.texts} if kept else {}).items():
        measure = NAMES[own.name][0] + (f", {plain(text)}" if text else "")
        base = own.systems.get("base")
        for name in ordered(list(own.systems)):
            pair = find_pair(own.paired, name, "base")
            against = bits_difference(pair.difference, base.value if base else None) if pair else ""
            word = f"{pair.verdict}; within 5%: {pair.noninferior or NONE}" if pair else NONE
            row = [measure, system(name).label, bits(own.systems[name]), against or NONE]
            rows.append([*row, word, basis(pair)])
    head = ["Measure, lower is better", "System", "Value [95%]", "Minus base", "Verdict", BASIS]
    return [["## Safety and retention"], _table(head, rows)] if rows else []


def _data(run: RunData) -> list[Block]:
    blocks: list[Block] = []
    if run.ledger or run.card:
        blocks.append(["## What went in, what was removed and why"])
    if run.ledger:
        head = ["Step", "In", "Kept", "Removed and failed"]
        blocks.append(_table(head, [_step(step) for step in run.ledger]))
    if run.card is not None:
        for facet, counts in run.card.facets.items():
            listed = ", ".join(f"{value} {count(n)}" for value, n in counts[:10])
            more = f", {len(counts) - 10} more" if len(counts) > 10 else ""
            blocks.append([f"- By {facet}: {plain(listed + more)}"])
    return blocks


def _step(step: Step) -> list[str]:
    lost = [*step.removed.items(), *((f"failed {name}", n) for name, n in step.failed.items())]
    text = ", ".join(f"{count(n)} {name.replace('_', ' ')}" for name, n in lost[:MOST_REASONS])
    return [plain(title(step.name)), count(step.rows_in), count(step.kept), plain(text) or NONE]


def _training(run: RunData) -> list[Block]:
    rows = [
        [title(stage), *resources(training.rows, training.summary).values()]
        for stage, training in run.training.items()
    ]
    return [["## Training"], _table(["Stage", *FACTS], rows)] if rows else []


def _reproduce(run: RunData) -> list[Block]:
    return [["## Reproduce"], ["```", *commands(run).splitlines(), "```"]]
