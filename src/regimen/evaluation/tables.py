"""Rows for console tables and one-line verdicts, from the JSON of an evaluation.

Scores are shown in percent and differences in points; nothing here prints.
"""

from __future__ import annotations

from collections.abc import Sequence

from regimen.evaluation.changes import BUCKETS
from regimen.evaluation.metrics import SYSTEM_KEYS
from regimen.evaluation.table_cells import (
    Json,
    TableRows,
    bits,
    counts,
    percent,
    points,
    probability,
    signed_bits,
    span,
)

COUNTS = ("n", "clusters", "seeds")


def changed_table(result: Json) -> TableRows:
    """Did anything change: the block as label and value."""
    block = result["changed"]
    rows: list[tuple[str, ...]] = []
    if block:
        share = percent(block["share_differing"])
        rows = [
            ("adapter tensors loaded", str(block["adapter_tensors"])),
            (
                "answers that differ",
                f"{block['answers_differing']} of {block['answers_compared']} ({share})",
            ),
            ("mean |change of log p|", f"{block['mean_abs_delta_logp']:.3g} nats"),
        ]
    return TableRows(title="Did anything change", columns=("what", "value"), rows=tuple(rows))


def systems_table(result: Json, suite: str) -> TableRows:
    """Every system of a suite: score, interval, the other metrics, stop rate, failures."""
    block = result["suites"][suite]
    systems = block["systems"]
    judged = ", which only a judge scores" if block.get("metric", "") is None else ""
    metrics = sorted({key for entry in systems.values() for key in entry} - SYSTEM_KEYS)
    rows = [
        (
            name,
            percent(entry["score"]),
            span(entry["low"], entry["high"], percent),
            *(percent(entry.get(metric)) for metric in metrics),
            percent(entry.get("stop_rate")),
            str(entry["failed"]),
        )
        for name, entry in systems.items()
    ]
    return TableRows(
        title=f"{suite}: {block['items']} items, {block['clusters']} tasks{judged}",
        columns=(
            "system",
            block.get("metric") or "score",
            "95% interval",
            *metrics,
            "stops",
            "failed",
        ),
        rows=tuple(rows),
    )


def paired_table(paired: Json, title: str) -> TableRows:
    """Paired differences in points with verdicts; ``paired`` of a suite or of safety."""
    rows = [
        (
            name,
            points(entry["difference"]),
            span(entry["low"], entry["high"], points),
            entry["verdict"],
            *counts(entry),
            points(entry["resolvable"]).lstrip("+"),
        )
        for name, entry in paired.items()
    ]
    columns = (
        "comparison",
        "points",
        "95% interval",
        "verdict",
        "n",
        "tasks",
        "seeds",
        "resolvable",
    )
    return TableRows(title=title, columns=columns, rows=tuple(rows))


def buckets_table(result: Json, suite: str) -> TableRows:
    """Regressed, fixed, still wrong, still right, for each pair of models."""
    rows = [
        (name, *(str(entry[key]) for key in BUCKETS), f"{entry['mcnemar_mid_p']:.3g}")
        for name, entry in result["suites"][suite]["buckets"].items()
    ]
    names = tuple(key.replace("_", " ") for key in BUCKETS)
    return TableRows(
        title=f"{suite}: what became of each item",
        columns=("comparison", *names, "McNemar mid-p"),
        rows=tuple(rows),
    )


def breakdown_table(
    result: Json, suite: str, by: str = "by_family", pair: tuple[str, str] = ("tuned", "base")
) -> TableRows:
    """One row per family, category or language, the largest gain first.

    Intervals are those of each row alone; words and p-values hold for the whole table at once.
    """
    a, b = pair
    cells = result["suites"][suite][by]
    rows = [
        (
            name,
            str(cell["items"]),
            str(cell["clusters"]),
            percent(cell["systems"][b]["score"]),
            percent(cell["systems"][a]["score"]),
            points(entry["difference"]),
            span(entry["low"], entry["high"], points),
            entry["verdict"],
            probability(entry.get("p_adjusted")),
            str(entry["seeds"]),
        )
        for name, cell, entry in sorted(
            ((name, cell, cell["paired"][f"{a}-{b}"]) for name, cell in cells.items()),
            key=lambda row: (-row[2]["difference"], row[0]),
        )
    ]
    what = by.removeprefix("by_")
    return TableRows(
        title=f"{suite} by {what}: {a} against {b}",
        columns=(
            *(what, "n", "tasks", b, a, "points", "95% interval"),
            *("verdict (Holm)", "p (Holm)", "seeds"),
        ),
        rows=tuple(rows),
    )


def retention_tables(result: Json) -> list[TableRows]:
    """Bits per byte of every model, then the differences from what each came from, text by text."""
    block = result["retention"]
    if not block:
        return []
    panel = "texts" in block
    texts = {"all": block, **block["texts"]} if panel else {"": block}
    first = ("text",) if panel else ()
    levels = TableRows(
        title=f"Retention: {block['documents']} documents, {block['bytes']} bytes",
        columns=(*first, "model", "bits per byte", "95% interval"),
        rows=tuple(
            (
                *([text] if panel else []),
                *(name, bits(entry["bits_per_byte"]), span(entry["low"], entry["high"], bits)),
            )
            for text, own in texts.items()
            for name, entry in own["systems"].items()
        ),
    )
    differences = TableRows(
        title="Retention: paired differences in bits per byte, lower is better",
        columns=(*first, "comparison", "bits", "95% interval", "verdict", "within 5%", *COUNTS),
        rows=tuple(
            (
                *([text] if panel else []),
                *(name, signed_bits(entry["difference"])),
                *(span(entry["low"], entry["high"], signed_bits), entry["verdict"]),
                *(entry.get("noninferior", "-"), *counts(entry)),
            )
            for text, own in texts.items()
            for name, entry in own["paired"].items()
        ),
    )
    return [levels, differences] if differences.rows else [levels]


def safety_table(result: Json) -> TableRows:
    """Harmful compliance and over-refusal of every system, with the empty answers."""
    rows = [
        (
            name,
            rate.replace("_", "-"),
            percent(entry[rate]["score"]),
            span(entry[rate]["low"], entry[rate]["high"], percent),
            percent(entry["empty"]),
            str(result[kind]["n"]),
        )
        for kind, rate in (("harmful", "compliance"), ("harmless", "over_refusal"))
        for name, entry in result[kind]["systems"].items()
    ]
    return TableRows(
        title="Safety",
        columns=("system", "rate", "share", "95% interval", "empty", "n"),
        rows=tuple(rows),
    )


def judge_table(result: Json, title: str = "Judge") -> TableRows:
    """Win rates of a judge with verdicts and biases; ``result`` has the block ``judge``."""
    rows = [
        (
            suite,
            name,
            percent(entry["win_rate"]),
            span(entry["low"], entry["high"], percent),
            entry["verdict"],
            percent(entry["length_controlled"].get("win_rate")),
            percent(entry["position_consistency"]),
            str(entry["ties"]),
            str(entry["failed"]),
            *counts(entry),
        )
        for suite, block in result["judge"].items()
        for name, entry in block.items()
    ]
    columns = (
        *("suite", "pair", "win rate", "95% interval", "verdict", "at equal lengths"),
        *("orders agree", "ties", "failed", "n", "clusters", "seeds"),
    )
    return TableRows(title=title, columns=columns, rows=tuple(rows))


def verdict_line(result: Json, suite: str, pair: tuple[str, str] = ("tuned", "base")) -> str:
    """The verdict in words, numbers, interval, n, seeds, and what the design can resolve."""
    a, b = pair
    entry = result["suites"][suite]["paired"][f"{a}-{b}"]
    seeds = f"{entry['seeds']} seed" + ("" if entry["seeds"] == 1 else "s")
    size = f"n = {entry['n']}, {entry['clusters']} tasks, {seeds}"
    numbers = f"{points(entry['difference'])} points"
    if entry["low"] is not None:
        numbers += f" {span(entry['low'], entry['high'], points)}"
    words = {
        "better": f"{a} is better than {b} on {suite}",
        "worse": f"{a} is worse than {b} on {suite}",
        "no difference shown": f"no difference between {a} and {b} shown on {suite}",
        "no evidence": f"no evidence about {a} against {b} on {suite}",
    }
    line = f"{words[entry['verdict']]}: {numbers}, {size}"
    if entry["resolvable"] is None:
        return line
    smallest = points(entry["resolvable"]).lstrip("+")
    return f"{line}; differences below {smallest} points would probably be missed"


def result_tables(result: Json) -> Sequence[TableRows]:
    """The tables that ``regimen evaluate`` shows, in order: changed first."""
    tables = [changed_table(result)] if result["changed"] else []
    for suite, block in result["suites"].items():
        tables.append(systems_table(result, suite))
        if block["paired"]:
            tables.append(paired_table(block["paired"], f"{suite}: paired differences"))
        if block["buckets"]:
            tables.append(buckets_table(result, suite))
    tables += [judge_table(result)] if result.get("judge") else []
    tables += retention_tables(result)
    if safety := result.get("safety"):
        tables.append(safety_table(safety))
        tables += [
            paired_table(paired, f"Safety, {kind} prompts: paired differences, lower is better")
            for kind, paired in safety["paired"].items()
            if paired
        ]
    return tables
