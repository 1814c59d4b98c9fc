"""The command line: parse, build settings, call one function. ``regimen --help`` loads no model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from regimen import __version__, console
from regimen.errors import RegimenError

if TYPE_CHECKING:
    from regimen.settings.chains import FileSettings
    from regimen.settings.pipeline import PipelineSettings

app = typer.Typer(
    name="regimen",
    help="Prepare a pre-trained language model for a job, with the evidence that it does it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)

SettingsFile = Annotated[Path, typer.Argument(help="A settings file, such as regimen.yaml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides, such as tune.learning_rate=1e-4.", metavar="[KEY=VALUE]..."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON result line last.")]
Profile = Annotated[
    bool,
    typer.Option("--profile", help="Measure some steps: time by part, memory; no training."),
]
KvCache = Literal["full", "int8"]
# Overrides may also be written --tune.learning_rate 1e-4, which typer must leave alone.
LOOSE = {"allow_extra_args": True, "ignore_unknown_options": True}


def _version(show: bool) -> None:
    if show:
        console.line(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Every verb takes --json and then prints one machine-readable result line last."""


def _load(context: typer.Context, file: Path, overrides: Sequence[str] | None) -> FileSettings:
    """The settings of a file with its overrides."""
    from regimen.settings.loading import load_settings

    return load_settings(file, [*(overrides or ()), *context.args])


def _first(context: typer.Context, file: Path, overrides: Sequence[str] | None) -> PipelineSettings:
    """The first run of a file, which all verbs but ``run`` are about; says so if there are more."""
    settings = _load(context, file, overrides)
    if settings.then:
        console.line(f"{file}: of its {len(settings.runs)} runs the first; `regimen run` does all")
    return settings.runs[0]


def _run(
    context: typer.Context,
    file: Path,
    overrides: Sequence[str] | None,
    stages: tuple[str, ...] | None,
    as_json: bool,
    profile: bool = False,
    gate: bool = False,
) -> None:
    from regimen.stages.pipeline import run_file, run_pipeline, run_profile

    if stages is None:
        result = run_file(_load(context, file, overrides))
    elif profile:
        result = run_profile(_first(context, file, overrides), stages[0])
    else:
        result = run_pipeline(_first(context, file, overrides), stages, gate=gate)
    if as_json:
        console.result(result)
    if gate:
        raise typer.Exit(result["gate"]["exit_status"])


@app.command(context_settings=LOOSE)
def run(
    context: typer.Context, file: SettingsFile, overrides: Overrides = None, json: Json = False
) -> None:
    """Run every stage that the file lists; what is up to date is skipped."""
    _run(context, file, overrides, None, json)


@app.command(context_settings=LOOSE)
def build(
    context: typer.Context, file: SettingsFile, overrides: Overrides = None, json: Json = False
) -> None:
    """Raw material to curated instances, with a ledger and a data card."""
    _run(context, file, overrides, ("build",), json)


@app.command(context_settings=LOOSE)
def tune(
    context: typer.Context,
    file: SettingsFile,
    overrides: Overrides = None,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Supervised fine-tuning, or plain language modelling."""
    _run(context, file, overrides, ("tune",), json, profile)


@app.command(context_settings=LOOSE)
def align(
    context: typer.Context,
    file: SettingsFile,
    overrides: Overrides = None,
    profile: Profile = False,
    json: Json = False,
) -> None:
    """Learn from preferences."""
    _run(context, file, overrides, ("align",), json, profile)


@app.command(context_settings=LOOSE)
def compress(
    context: typer.Context, file: SettingsFile, overrides: Overrides = None, json: Json = False
) -> None:
    """Post-training quantisation: the finished model in few bits, and what that costs."""
    _run(context, file, overrides, ("compress",), json)


@app.command(context_settings=LOOSE)
def evaluate(
    context: typer.Context,
    file: SettingsFile,
    overrides: Overrides = None,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="End with 0 pass, 2 fail or 3 cannot tell; 1 is an error."),
    ] = False,
    json: Json = False,
) -> None:
    """Held-out tasks, base and tuned side by side, with intervals."""
    _run(context, file, overrides, ("evaluate",), json, gate=gate)


@app.command(context_settings=LOOSE)
def plan(
    context: typer.Context, file: SettingsFile, overrides: Overrides = None, json: Json = False
) -> None:
    """Memory of every tuning, measured, and the fastest arrangement that keeps to its budget."""
    settings = _first(context, file, overrides)
    from regimen.stages.plan import plan as plan_tunings

    result = plan_tunings(settings)
    if json:
        console.result(result)


@app.command(context_settings=LOOSE)
def study(
    context: typer.Context,
    file: SettingsFile,
    overrides: Overrides = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Tell what it would cost; run nothing but a probe.")
    ] = False,
    json: Json = False,
) -> None:
    """A claim about data or method: a grid of trainings over seeds, with a verdict."""
    settings = _first(context, file, overrides)
    from regimen.stages.study import study as run_study

    result = run_study(settings, only_plan=plan)
    if json:
        console.result(result)


@app.command()
def init(
    data: Annotated[str, typer.Argument(help="A file, a directory or a saved data set.")],
    out: Annotated[Path, typer.Option(help="Where the files are written.")] = Path(),
    model: Annotated[str, typer.Option(help="The model to tune.")] = "",
    name: Annotated[str, typer.Option(help="Name of the task.")] = "",
    dataset: Annotated[
        bool, typer.Option("--dataset", help="DATA names a data set of the Hugging Face hub.")
    ] = False,
    config: Annotated[str, typer.Option(help="A configuration of that data set.")] = "",
    json: Json = False,
) -> None:
    """Propose a task file and settings from any table of rows."""
    from regimen.stages.init import init as propose

    result = propose(data, out=out, model=model, name=name, dataset=dataset, config=config)
    if json:
        console.result(result)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="The directory of a run or a study.")],
    json: Json = False,
) -> None:
    """Write report.html from the directory of a run or a study."""
    from regimen.reports import write_report
    from regimen.reports.study import STUDY_FILE, rewrite_study_report

    studied = (directory / STUDY_FILE).is_file()
    path = rewrite_study_report(directory) if studied else write_report(directory)
    console.line(f"report: {path}")
    if json:
        console.result({"report": str(path)})


@app.command()
def show(
    source: Annotated[
        Path, typer.Argument(help="Tasks, settings, instances, any readable data file, or a run.")
    ],
    model: Annotated[str, typer.Option(help="Model or tokenizer; conversations need one.")] = "",
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="Rows, pairs or instances to show.")
    ] = None,
    mask: Annotated[str, typer.Option(help="assistant, last_turn or all.")] = "assistant",
    task: Annotated[
        str, typer.Option(help="The task to show, by its name or the start of it.")
    ] = "",
    row: Annotated[int | None, typer.Option(min=0, help="The row to show, from 0.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the rows that are drawn.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows looked at for coverage.")] = 1000,
    trace: Annotated[
        str, typer.Option(help="Id in a run, or its beginning: an item, a training row, both ways.")
    ] = "",
    json: Json = False,
) -> None:
    """Tasks in every encoding, conversations with coloured masks, or what a run knows of an id."""
    from regimen.stages.show import show as show_source

    result = show_source(
        source,
        model,
        number=number,
        mask=mask,
        task=task,
        row=row,
        seed=seed,
        limit=limit,
        trace=trace,
    )
    if json:
        console.result(result)


@app.command(context_settings=LOOSE)
def verify(
    context: typer.Context, file: SettingsFile, overrides: Overrides = None, json: Json = False
) -> None:
    """Check on your own model and data that training computes exactly what it should."""
    settings = _first(context, file, overrides)
    from regimen.stages.verify import broken
    from regimen.stages.verify import verify as verify_settings

    result = verify_settings(settings)
    if json:
        console.result(result)
    error = broken(result)
    if error is not None:
        raise error


@app.command()
def chat(
    place: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory, or a model's folder.")
    ],
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0, help="Nucleus sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling.")] = 0,
    kv_cache: Annotated[
        KvCache, typer.Option("--kv-cache", help="How keys and values are kept.")
    ] = "full",
    json: Json = False,
) -> None:
    """Talk with what a run ended with; /reset begins anew, /quit ends."""
    from regimen.stages.chat import chat as talk

    result = talk(
        place,
        system=system,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        kv_cache=kv_cache,
    )
    if json:
        console.result(result)


@app.command()
def combine(
    adapters: Annotated[
        list[str], typer.Argument(help="Folders of adapters, or NAME=FOLDER.", metavar="ADAPTER...")
    ],
    out: Annotated[Path, typer.Option(help="The folder that is written.")],
    weight: Annotated[
        list[float] | None, typer.Option(help="Weight of an adapter; once for each, in order.")
    ] = None,
    how: Annotated[
        str, typer.Option(help="cat, svd, linear, ties, dare_linear, dare_ties (or with _svd).")
    ] = "svd",
    density: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the entries that TIES and DARE keep.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the entries that DARE draws.")] = 0,
    by: Annotated[
        str, typer.Option(help="Choose by row: by task, family, category or language.")
    ] = "",
    use: Annotated[
        list[str] | None, typer.Option(help="VALUE=NAME: the adapter for a value; several times.")
    ] = None,
    otherwise: Annotated[
        str, typer.Option(help="The adapter for other values; the base alone when not given.")
    ] = "",
    merged: Annotated[
        bool, typer.Option("--merged", help="Write base and adapter as one.")
    ] = False,
    into: Annotated[
        str,
        typer.Option(
            help="original or dequantised: the weights to merge into, where the adapter saw a "
            "quantised base; the nearer one when not given."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Make one adapter of several, choose among them by row, or merge one into its base."""
    from regimen.stages.combine import combine as combine_folders

    result = combine_folders(
        adapters,
        out,
        weights=weight or (),
        how=how,
        density=density,
        seed=seed,
        by=by,
        use=use or (),
        otherwise=otherwise,
        merge=merged,
        into=into,
    )
    if json:
        console.result(result)


@app.command()
def schema() -> None:
    """The JSON schema of the settings, for editors."""
    from regimen.settings.loading import json_schema

    console.result(json_schema())


def main(arguments: Sequence[str] | None = None) -> Any:
    """Entry point: user errors become text and exit code 1, never a traceback."""
    try:
        return app(args=list(arguments) if arguments is not None else None)
    except RegimenError as error:
        console.error(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        console.line("interrupted")
        sys.exit(130)
