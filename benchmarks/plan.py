"""What ``plan`` expects against what is measured, and whether budgets are kept.

    python benchmarks/plan.py [--quick] [--json]

Models of drawn weights, adapters, bases, optimizers and ways to keep activations, in 20
configurations. For each, the expected peak beyond imports against that of a fresh process; then a
search with a budget below what it takes, and the peak of what the search proposes, measured once
more. Where nothing keeps to the budget that leaves what is learnt as it is, other optimizers, types
and bases are allowed; where nothing does at all, the smallest budget that the error names is asked
for. A full run writes benchmarks/results/plan.json.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command import carry_out, parser
from plan_page import BUDGET, EXPECTED
from regimen import __version__, console
from regimen.errors import TrainingError
from regimen.models.loading import ModelSpec, load_model
from regimen.settings.memory import in_bytes
from regimen.settings.tune import TuneSettings
from regimen.stages.plan import Fit, measure, search, with_changes
from render import write_page
from result import machine

NAME = "plan"
SMALL = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8}
WIDE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 12}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 8192}
LORA = {"adapter": {"kind": "lora", "target_modules": "all-linear"}}
FEW, SOME, MANY = ({"tokens_per_batch": count} for count in (1024, 2048, 4096))
Configuration = tuple[str, Mapping[str, Any], Mapping[str, Any]]
CONFIGURATIONS: tuple[Configuration, ...] = (
    ("full", SMALL, FEW),
    ("full", SMALL, MANY),
    ("full, checkpoints", SMALL, MANY | {"memory": {"activations": "full"}}),
    ("full, selective", SMALL, MANY | {"memory": {"activations": "selective"}}),
    ("full, 8-bit AdamW", SMALL, FEW | {"optimizer": "adamw_8bit"}),
    ("full, Adafactor", SMALL, FEW | {"optimizer": "adafactor"}),
    ("full, Muon", SMALL, FEW | {"optimizer": "muon"}),
    ("full, accumulated", SMALL, FEW | {"gradient_accumulation_steps": 4}),
    ("full", WIDE, FEW),
    ("full, bf16 weights", WIDE, FEW),
    ("full, checkpoints", WIDE, SOME | {"memory": {"activations": "full"}}),
    ("LoRA", SMALL, MANY | LORA),
    ("LoRA", WIDE, FEW | LORA),
    ("LoRA", WIDE, SOME | LORA),
    ("LoRA, checkpoints", WIDE, SOME | LORA | {"memory": {"activations": "full"}}),
    ("LoRA, offloaded", WIDE, SOME | LORA | {"memory": {"activations": "offload"}}),
    ("LoRA, streamed", WIDE, FEW | LORA | {"memory": {"stream": True}}),
    ("LoRA on nf4", WIDE, FEW | LORA | {"quantise": "nf4"}),
    ("DoRA", SMALL, FEW | {"adapter": {"kind": "lora", "use_dora": True}}),
    ("bottleneck", SMALL, MANY | {"adapter": {"kind": "bottleneck"}}),
)
QUICK = (0, 11)
PLAIN = "plain.jinja"
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""Of chats without tokens of their own, whose rows not every adapter can train."""
SHARES = 0.8
"""Of the peak beyond imports: the budget of the search."""
ALLOWED = ["quantise", "optimizer", "dtype"]


def model_of(shape: Mapping[str, Any], folder: Path) -> Path:
    """A model of drawn weights, with the tokenizer of the tiny base."""
    import shutil

    place = folder / "-".join(str(value) for value in shape.values())
    if not place.is_dir():
        config = {"model_type": "llama", **HEADS, **shape}
        load_model(ModelSpec(config=config)).save_pretrained(place)
        base = Path(__file__).parents[1] / "src/regimen/assets/tiny-base"
        for file in base.glob("*token*"):
            shutil.copy(file, place / file.name)
        (place / PLAIN).write_text(TEMPLATE)
    return place


def section_of(name: str, place: Path, more: Mapping[str, Any], **memory: Any) -> TuneSettings:
    """The settings of a configuration."""
    dtype = {"dtype": "bfloat16"} if "bf16" in name else {}
    chat = {"chat_template": str(place / PLAIN)} if name == "bottleneck" else {}
    fields = {"model": {"path": str(place), **dtype, **chat}, "max_length": 512, **more}
    fields["memory"] = {**fields.get("memory", {}), **memory}
    return TuneSettings.model_validate(fields)


def within(
    name: str, place: Path, more: Mapping[str, Any], budget: str
) -> tuple[TuneSettings, Fit]:
    """The settings and the arrangement of the first search that finds one: in the budget as it is,
    with everything allowed, and in the smallest that the error then names.
    """
    smallest = ""
    # what the error names is about right where it was not measured, and else it is enough
    for allow, limit in (([], budget), (ALLOWED, budget), (ALLOWED, None), (ALLOWED, None)):
        section = section_of(name, place, more, budget=limit or smallest, allow=allow)
        try:
            return section, search(section)[-1]
        except TrainingError as error:
            if error.slug != "budget-too-small":
                raise
            smallest = str(error.expected).removeprefix("about ").partition(" or more")[0]
    raise AssertionError(f"{name}: no budget that was named was enough; now {smallest}")


def row(configuration: Configuration, folder: Path) -> dict[str, Any]:
    """What is expected of one, what is measured, and what a search in less memory proposes."""
    name, shape, more = configuration
    place = model_of(shape, folder)
    (fit,) = search(section_of(name, place, more))
    assert fit.measured is not None
    libraries, peak = fit.measured["libraries"], fit.measured["peak"]
    expected = fit.expected["total"] - fit.expected["libraries"]
    shown = f"{name}, {shape['num_hidden_layers']} x {shape['hidden_size']}"
    budgeted, found = within(
        name, place, more, f"{(libraries + SHARES * (peak - libraries)) / 2**20:.0f}MiB"
    )
    budget = in_bytes(budgeted.memory.budget or "")
    # the search has measured it too, and would not have proposed what is above
    kept = measure(with_changes(budgeted, found.changes))["peak"]
    console.line(
        f"  {shown}: expected {expected / 2**20:.0f} MiB, measured "
        f"{(peak - libraries) / 2**20:.0f}; budget {budget / 2**20:.0f} MiB: "
        f"{kept / 2**20:.0f}, {found.words}"
    )
    return {
        "name": shown,
        "tokens_per_batch": more["tokens_per_batch"],
        "expected_mib": expected / 2**20,
        "measured_mib": (peak - libraries) / 2**20,
        "error": expected / (peak - libraries) - 1,
        "budget_mib": budget / 2**20,
        "chosen": found.words,
        "chosen_peak_mib": kept / 2**20,
    }


def result_of(
    rows: Sequence[Mapping[str, Any]], where: Mapping[str, Any], *, quick: bool
) -> dict[str, Any]:
    """All rows, and how far off the worst is."""
    off = [abs(one["error"]) for one in rows]
    over = [one for one in rows if one["chosen_peak_mib"] > one["budget_mib"]]
    return {
        "name": NAME,
        "versions": {
            "regimen": __version__,
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
        "machine": where,
        "quick": quick,
        "rows": rows,
        "ratios": {
            EXPECTED: max(off),
            f"{EXPECTED} (median)": statistics.median(off),
            BUDGET: float(len(over)),
        },
    }


def bench(*, quick: bool) -> dict[str, Any]:
    """Every configuration in turn."""
    chosen = [CONFIGURATIONS[n] for n in QUICK] if quick else CONFIGURATIONS
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        return result_of([row(one, Path(folder)) for one in chosen], where, quick=quick)


def show(result: Mapping[str, Any]) -> None:
    """Print the result as a table."""
    body = [
        (
            one["name"],
            one["tokens_per_batch"],
            round(one["expected_mib"]),
            round(one["measured_mib"]),
            f"{one['error']:+.1%}",
            round(one["budget_mib"]),
            round(one["chosen_peak_mib"]),
            one["chosen"],
        )
        for one in result["rows"]
    ]
    columns = ("configuration", "tokens", "expected", "MiB", "off", "budget", "peak", "chosen")
    console.table(NAME, columns, body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = parser("What plan expects against what is measured.", quick="two configurations")
    given = options.parse_args(argv)
    return carry_out(given, lambda: bench(quick=given.quick), show, lambda _: write_page())


if __name__ == "__main__":
    sys.exit(main())
