"""What a reward model is worth on prompts that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from regimen.reports.charts import frame
from regimen.reports.files import Json, mapping, number
from regimen.reports.markup import Child, Column, Section, join, paragraph, table
from regimen.reports.reliability import reliability_svg
from regimen.reports.rundata import RunData
from regimen.reports.wording import percent, things

COLUMNS = (
    Column(label="score"),
    Column(label="judged", number=True),
    Column(label="accuracy", number=True),
    Column(label="95%", number=True),
    Column(label="calibration error", number=True),
    Column(label="rank correlation with length", number=True),
)


def rewards(run: RunData) -> Section | None:
    """Accuracy, calibration and length bias of each score; None where no reward was trained."""
    if not run.rewards:
        return None
    found = {name: mapping(one) for name, one in mapping(run.rewards.get("dimensions")).items()}
    if not found:
        body = paragraph("No prompt was held out, so nothing is known of the scores' quality.")
        return Section(anchor="rewards", title="Reward model", body=body)
    prompts = things(int(number(run.rewards.get("prompts")) or 0), "held-out prompt")
    panels = {name: mapping(one.get("calibration")) for name, one in found.items()}
    picture = frame(
        "calibration",
        "Calibration",
        Markup(reliability_svg(panels, themed=True)),  # names are escaped where it is drawn
        note="Predicted probabilities in bins of equal mass against what was observed, with 95% "
        "intervals; on the dashed line both are the same.",
    )
    rows = [_row(name, one) for name, one in found.items()]
    body = join([table(f"Scores on {prompts}", COLUMNS, rows), picture])
    return Section(anchor="rewards", title="Reward model", body=body)


def _row(name: str, one: Json) -> Sequence[Child]:
    accuracy, length = mapping(one.get("accuracy")), mapping(one.get("length"))
    judged = next((one[unit] for unit in ("pairs", "steps", "answers") if unit in one), 0)
    low, high = number(accuracy.get("low")), number(accuracy.get("high"))
    error = number(mapping(one.get("calibration")).get("ece"))
    rho = number(length.get("value"))
    return (
        name,
        f"{judged:,}",
        percent(number(accuracy.get("value")) or 0.0),
        "" if low is None or high is None else f"{percent(low)} to {percent(high)}",
        "" if error is None else f"{error:.3f}",
        "" if rho is None else f"{rho:.2f}",
    )
