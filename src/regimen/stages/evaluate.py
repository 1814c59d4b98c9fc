"""``evaluate``: held-out items, base and tuned side by side, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from regimen import console
from regimen.evaluation.answers import answers_to_table
from regimen.evaluation.changes import Change
from regimen.evaluation.retention import retention
from regimen.evaluation.runner import evaluate as run_evaluation
from regimen.evaluation.safety import safety
from regimen.evaluation.suites import (
    ask_chat,
    ask_prompted,
    by_suite,
    choose_k,
    copy_demonstration,
    copy_input,
)
from regimen.evaluation.systems import ComputedSystem, GeneratedSystem, System, answer_items
from regimen.judging.refusal import is_refusal
from regimen.judging.rules import exact, rouge_l
from regimen.models.hardware import bf16_is_fast, set_up
from regimen.records import Item
from regimen.runs import Run
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.models import LazyGenerator, document_losses, load, token_logps
from regimen.stages.texts import load_texts
from regimen.tables import read_table, table_to_items, write_table
from regimen.tokens.store import token_rows

SCORERS = {"exact": exact, "rouge_l": rouge_l}
VALIDATION = "validation"


def evaluate(settings: PipelineSettings, root: Path, models: Mapping[str, str]) -> StageResult:
    """Compare systems on the held-out items of ``root/build``.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/evaluate``.
        models: folders of ``base``, ``tuned`` and, where something was aligned, ``aligned``.

    Raises:
        EvaluationError: no items, or the tuned model is the base.
    """
    section = settings.evaluate
    assert section is not None
    items = root / "build" / "items.parquet"
    inputs = {name: path_key(path) for name, path in models.items()} | {"items": path_key(items)}
    seed = settings.seed_of("evaluate")
    return run_stage(
        "evaluate",
        settings,
        root / "evaluate",
        inputs,
        lambda run: _work(section, seed, run, list(table_to_items(read_table(items))), models),
    )


def _work(
    section: EvaluateSettings,
    seed: int,
    run: Run,
    everything: Sequence[Item],
    models: Mapping[str, str],
) -> Mapping[str, Any]:
    set_up()
    items = [item for item in everything if item.suite != VALIDATION]
    validation = [item for item in everything if item.suite == VALIDATION]
    generators = _generators(section, models)
    systems, shots = _systems(section, generators, validation, items)
    change = _change(generators, items)
    with console.progress(len(systems) * len(items), "evaluate", "answers") as bar:
        result = run_evaluation(items, systems, SCORERS, change=change, advance=bar.advance)
    kept = _retention(section, generators)
    body = result.to_json(retention=kept)
    body["prompted_base"] = shots
    body["safety"] = _safety(section, seed, generators)
    run.write_json("safety.json", body["safety"])
    run.write_json("evaluation.json", body)
    write_table(run.path("answers.parquet"), answers_to_table(result.rows))
    return {
        "suites": {
            name: {
                "items": block["items"],
                "scores": {s: round(v["score"], 4) for s, v in block["systems"].items()},
            }
            for name, block in body["suites"].items()
        },
        "systems": list(systems),
    }


def _generators(section: EvaluateSettings, models: Mapping[str, str]) -> dict[str, LazyGenerator]:
    """One generator per model; all are asked with the template that the tuned model carries."""
    bf16 = bf16_is_fast()
    template = _template(models["tuned"])
    return {
        name: LazyGenerator(name, partial(load, path, template=template), section.batch_size, bf16)
        for name, path in models.items()
        if name in section.systems or name in ("base", "tuned")
    }


def _template(path: str) -> str | None:
    """The chat template that a tuned model carries."""
    from regimen.models.loading import load_tokenizer
    from regimen.tokens.rendering import Renderer

    return Renderer(load_tokenizer(path)).template


def _systems(
    section: EvaluateSettings,
    generators: Mapping[str, LazyGenerator],
    validation: Sequence[Item],
    items: Sequence[Item],
) -> tuple[dict[str, System], dict[str, Any]]:
    """The systems that the settings name, and how the prompted base was chosen."""
    chat = partial(ask_chat, max_new_tokens=section.max_new_tokens)
    found: dict[str, System] = {}
    shots: dict[str, Any] = {}
    for name in section.systems:
        if name in generators:
            found[name] = GeneratedSystem(generators[name], chat)
        elif name == "base_prompted":
            k = section.shots[0]
            if len(section.shots) > 1 and validation:
                chosen = choose_k(
                    generators["base"],
                    validation[: section.validation_items],
                    section.shots,
                    exact,
                    held_out=items,
                    max_new_tokens=section.max_new_tokens,
                )
                k = chosen.k
                shots = {"k": k, "validation": {str(n): s for n, s in chosen.scores.items()}}
            ask = partial(ask_prompted, k=k, max_new_tokens=section.max_new_tokens)
            found[name] = GeneratedSystem(generators["base"], ask)
        elif name == "copy_input":
            found[name] = ComputedSystem(copy_input)
        elif name == "copy_demonstration":
            found[name] = ComputedSystem(copy_demonstration)
    return found, shots


def _change(generators: Mapping[str, LazyGenerator], items: Sequence[Item]) -> Change:
    """Mean |change of log-probability| over the prompts of some items, base against tuned."""
    base, tuned = generators["base"].loaded, generators["tuned"].loaded
    suites = by_suite(items).values()
    probe = [item for suite in suites for item in suite.items[:16]]
    rows = token_rows([base.renderer.document(item.messages[-1].text) for item in probe])
    bf16 = generators["base"].bf16
    before = token_logps(base.language_model, rows, bf16=bf16)
    after = token_logps(tuned.language_model, rows, bf16=bf16)
    deltas = [float((a - b).abs().sum()) for a, b in zip(after, before, strict=True)]
    tokens = sum(len(a) for a in after)
    return Change(
        adapter_tensors=tuned.adapter_tensors, mean_abs_delta_logp=sum(deltas) / max(tokens, 1)
    )


def _retention(
    section: EvaluateSettings, generators: Mapping[str, LazyGenerator]
) -> dict[str, Any] | None:
    """Bits per byte of plain text under every model."""
    if section.retention is None:
        return None
    texts = load_texts(section.retention)

    def losses(generator: LazyGenerator) -> Callable[[Sequence[str]], Sequence[float]]:
        return lambda given: document_losses(generator.loaded, given, bf16=generator.bf16)

    return retention(texts, {name: losses(g) for name, g in generators.items()})


def _safety(
    section: EvaluateSettings, seed: int, generators: Mapping[str, LazyGenerator]
) -> dict[str, Any]:
    """Harmful compliance and over-refusal on generated prompts."""
    if section.safety is None:
        return {}
    from regimen.assets.starter.safety import prompts
    from regimen.records import Lineage, Message

    count = section.safety.prompts
    kinds = {
        kind: [
            Item(
                suite=f"safety_{kind}",
                messages=(Message(role="user", content=prompt.text),),
                references=("",),
                cluster=prompt.topic,
                lineage=Lineage(category=prompt.category, family=kind, language="en"),
            )
            for prompt in prompts(kind, "evaluation", count, seed)
        ]
        for kind in ("harmful", "harmless")
    }
    asked = [*kinds["harmful"], *kinds["harmless"]]
    chat = partial(ask_chat, max_new_tokens=section.max_new_tokens)
    answers = {}
    with console.progress(len(generators) * len(asked), "safety", "answers") as bar:
        for name, generator in generators.items():
            given = answer_items(GeneratedSystem(generator, chat), asked, bar.advance)
            answers[name] = {
                item.item_id: answer for item, answer in zip(asked, given, strict=True)
            }
    return safety(kinds["harmful"], kinds["harmless"], answers, is_refusal, minimum=min(count, 400))
