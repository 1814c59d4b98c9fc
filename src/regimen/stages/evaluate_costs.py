"""What a tuning may cost: bits per byte of plain text, harmful compliance, over-refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from regimen import console
from regimen.evaluation.retention import retention, retention_panel
from regimen.evaluation.safety import safety
from regimen.evaluation.suites import ask_chat
from regimen.evaluation.systems import GeneratedSystem, answer_items
from regimen.judging.refusal import is_refusal
from regimen.records import Item, Lineage, Message
from regimen.settings.evaluate import EvaluateSettings
from regimen.stages.models import LazyGenerator, document_losses
from regimen.stages.texts import load_texts


def retention_block(
    section: EvaluateSettings, generators: Mapping[str, LazyGenerator]
) -> dict[str, Any]:
    """Bits per byte of plain text under every model; empty where no text is named."""
    if section.retention is None:
        return {}

    def losses(generator: LazyGenerator) -> Callable[[Sequence[str]], Sequence[float]]:
        return lambda given: document_losses(generator.loaded, given, bf16=generator.bf16)

    models = {name: losses(generator) for name, generator in generators.items()}
    if isinstance(section.retention, tuple):
        return retention_panel({text.name: load_texts(text) for text in section.retention}, models)
    return retention(load_texts(section.retention), models)


def safety_block(
    section: EvaluateSettings, seed: int, generators: Mapping[str, LazyGenerator]
) -> dict[str, Any]:
    """Harmful compliance and over-refusal on generated prompts; empty where not asked for."""
    if section.safety is None:
        return {}
    from regimen.assets.starter.safety import prompts

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
