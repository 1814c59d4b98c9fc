"""How training went: curves over steps, and what the model was asked to learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from regimen.reports import line_specs
from regimen.reports.charts import figure
from regimen.reports.files import Json, mapping, number
from regimen.reports.line_specs import Curves, Line
from regimen.reports.markup import Section, el, paragraph
from regimen.reports.rundata import MaskSample, RunData, Training
from regimen.reports.wording import count, percent, things, title

POINTS = 160
MOST_PIECES = 1200

Points = list[tuple[float, float]]


def curves(run: RunData) -> Section | None:
    """Loss, gradient norm, learning rate and speed of each training stage; rewards for align."""
    parts: list[Markup] = []
    for stage, training in run.training.items():
        parts += _stage(stage, training)
    if not parts:
        return None
    return Section(anchor="curves", title="Training", body=Markup().join(parts))


def _stage(stage: str, training: Training) -> Iterator[Markup]:
    panels = [panel for panel in _panels(training.rows, stage) if panel.lines]
    if not training.finished:
        yield paragraph(f"{stage} is unfinished: it has no manifest.", class_="warning")
    if training.unreadable:
        lines = things(training.unreadable, "line")
        yield paragraph(f"{lines} of {stage}/metrics.jsonl could not be read.", class_="warning")
    if training.rendering is not None:
        yield paragraph(rendered_line(stage, training), class_="small")
    if not panels:
        yield paragraph(f"{stage} has logged no steps.")
        return
    loss = series(training.rows, "loss")
    text = ", ".join(panel.title for panel in panels) + " over training steps."
    if loss:
        text = f"Loss from {loss[0][1]:.3f} to {loss[-1][1]:.3f} in {loss[-1][0]:.0f} steps. {text}"
    yield figure(
        f"curves-{stage}",
        {"tune": "Tuning", "align": "Alignment"}.get(stage, title(stage)),
        text,
        lambda width: line_specs.curves(panels, width),
        note=f"Horizontal: optimizer steps. {_note(training.rows)}",
    )


def rendered_line(stage: str, training: Training) -> str:
    """How many conversations or texts became tokens, and why the others did not."""
    step, counts = training.rendering, training.counts
    assert step is not None
    unit = str(counts.get("unit") or "conversation")
    text = f"{title(stage)}: {count(step.kept)} of {things(step.rows_in, unit)} rendered"
    lost = [*step.removed.items(), *step.failed.items()]
    reasons = ", ".join(f"{count(n)} {reason.replace('_', ' ')}" for reason, n in lost)
    share = number(mapping(counts.get("overflow")).get("lost_share"))
    cost = f" {percent(share)} of the tokens to learn are lost to max_length." if share else ""
    return (f"{text}; not: {reasons}." if reasons else f"{text}.") + cost


def _note(rows: Sequence[Json]) -> str:
    if len(rows) > POINTS:
        return (
            f"Faint: means of about {len(rows) // POINTS + 1} logged steps each; "
            "strong: their moving average."
        )
    return "Faint: logged steps; strong: their moving average."


def _panels(rows: Sequence[Json], stage: str) -> list[Curves]:
    colour = "aligned" if stage == "align" else "tuned"
    loss = _smooth_lines(rows, "loss", colour)
    held_out = series(rows, "eval_loss")
    if held_out:
        loss.append(Line(label="held out", colour="warn", points=held_out, dots=True))
    rewards = [
        Line(label=label, colour=tone, points=smooth(found))
        for key, label, tone in (
            ("rewards/chosen", "chosen", "good"),
            ("rewards/rejected", "rejected", "bad"),
        )
        if (found := series(rows, key))
    ]
    rate = series(rows, "learning_rate")
    speed = _smooth_lines(rows, "tokens_per_second", colour)
    return [
        Curves(title="Loss" if stage == "align" else "Loss, nats per supervised token", lines=loss),
        Curves(
            title="Gradient norm before clipping",
            lines=_smooth_lines(rows, "grad_norm", colour),
            zero=True,
        ),
        Curves(title="Reward margin", lines=_smooth_lines(rows, "rewards/margins", colour)),
        Curves(
            title="Pairs ranked as preferred",
            format=".0%",
            lines=_smooth_lines(rows, "rewards/accuracies", colour),
        ),
        Curves(title="Rewards of chosen and rejected answers", lines=rewards),
        Curves(
            title="Learning rate",
            format="~e",
            zero=True,
            lines=[Line(label="", colour=colour, points=rate)] if rate else [],
        ),
        Curves(title="Tokens per second", format="~s", lines=speed, zero=True),
    ]


def _smooth_lines(rows: Sequence[Json], key: str, colour: str) -> list[Line]:
    found = series(rows, key)
    if not found:
        return []
    raw = Line(label="", colour=colour, points=found, faint=True)
    return [raw, Line(label="", colour=colour, points=smooth(found))]


def series(rows: Sequence[Json], key: str) -> Points:
    """(step, value) of the lines that have the key, at most ``POINTS`` of them, by bin means."""
    found = [
        (step, value)
        for i, row in enumerate(rows)
        if (value := number(row.get(key))) is not None
        and (step := number(row.get("step", i + 1))) is not None
    ]
    if len(found) <= POINTS:
        return found
    size = -(-len(found) // POINTS)
    bins = [found[i : i + size] for i in range(0, len(found), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in bins]


def smooth(points: Points) -> Points:
    """Centred moving average; near both ends the window shrinks, so that it never lags."""
    reach, last = max(1, len(points) // 24), len(points) - 1
    out = []
    for i, (x, _) in enumerate(points):
        half = min(reach, i, last - i)
        window = [y for _, y in points[i - half : i + half + 1]]
        out.append((x, sum(window) / len(window)))
    return out


def masks(run: RunData) -> Section | None:
    """Two rendered conversations; learnt tokens are marked by colour and underline."""
    if not run.samples:
        return None
    key = el(
        "p",
        el("span", el("span", "learnt", class_="on"), " its loss trains the model"),
        el("span", el("span", "read", class_="off"), " context only"),
        class_="key masks",
    )
    blocks = [_sample(i, sample) for i, sample in enumerate(run.samples[:2], 1)]
    lead = paragraph(
        "Two training conversations as token by token the model saw them.", class_="lead"
    )
    return Section(
        anchor="masks",
        title="What the model was taught to say",
        label="Masks",
        body=lead + key + Markup().join(blocks),
    )


def _sample(index: int, sample: MaskSample) -> Markup:
    learnt, total = sum(sample.mask), len(sample.mask)
    pieces = zip(sample.pieces[:MOST_PIECES], sample.mask[:MOST_PIECES], strict=True)
    cut = paragraph(f"The first {MOST_PIECES} of {total} tokens.", class_="small")
    share = percent(learnt / total) if total else "none"
    return Markup().join(
        [
            el("h3", f"Sample {index}: {learnt} of {total} tokens learnt ({share})"),
            el("pre", (_piece(text, on) for text, on in pieces), class_="tokens", tabindex="0"),
            cut if total > MOST_PIECES else Markup(),
        ]
    )


def _piece(text: str, on: bool) -> Markup:
    # A line break is shown as a sign too, so that a learnt or forgotten one can be seen.
    shown = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n")
    return el("span", shown, class_="on" if on else "off")
