"""The teacher of ``tune.distil``: loaded, compared with the student, ready to be learnt from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from regimen.errors import ModelError
from regimen.objectives.distillation import Distillation
from regimen.settings.distil import DistilSettings
from regimen.stages.models import Loaded, load
from regimen.stages.training import Prepared
from regimen.tokens.rendering import stop_ids
from regimen.tokens.store import TokenRows
from regimen.training.data import Data
from regimen.training.options import LoopOptions
from regimen.training.teacher import OwnAnswers, Sampling, Teacher

SHOWN = 5


def distillation(
    section: DistilSettings, prepared: Prepared, max_length: int
) -> tuple[Distillation, dict[str, Any]]:
    """The objective with its teacher, and what is told of it.

    Raises:
        ModelError: the teacher cannot be loaded, has another vocabulary (``teacher-vocabulary``)
            or a context that is too short (``teacher-context``).
    """
    loaded = load(section.teacher, dtype=section.dtype)
    check_vocabulary(prepared.tokenizer, loaded, section.teacher)
    context = loaded.language_model.context_length
    if context < max_length:
        raise ModelError(
            "The teacher's context is shorter than the rows may be.",
            slug="teacher-context",
            got=f"a context of {context:,} tokens, max_length {max_length:,}",
            fix=f"Set max_length to {context} or less.",
            where=section.teacher,
        )
    loaded.language_model.model.requires_grad_(False)
    teacher = Teacher(loaded.language_model, section.teacher_share, section.temperature)
    count = sum(p.numel() for p in loaded.language_model.model.parameters())
    told = {"teacher": section.teacher, "teacher_parameters": count, "beta": section.teacher_share}
    return Distillation(teacher, section.sft_weight), told


def check_vocabulary(tokenizer: Any, loaded: Loaded, name: str) -> None:
    """Every id must stand for the same token in both models.

    Raises:
        ModelError: it does not, or a projection is too small (``teacher-vocabulary``).
    """
    ours, theirs = tokenizer.get_vocab(), loaded.tokenizer.get_vocab()
    other = sorted(
        token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)
    )
    rows = len(loaded.language_model.head().weight_VD)
    if not other and rows >= len(ours):
        return
    named = ", ".join(repr(token) for token in other[:SHOWN])
    got = f"{len(other):,} tokens with other ids: {named}" if other else f"{rows:,} rows"
    raise ModelError(
        "The teacher and the student have different vocabularies.",
        slug="teacher-vocabulary",
        got=f"{len(theirs):,} and {len(ours):,} tokens; {got}",
        expected="the same ids for the same tokens, so that their distributions can be compared",
        fix="Choose a teacher of the student's family, or learn its answers: sample them with "
        "build.feedback (best_of_n) and tune on them.",
        where=name,
    )


def own_answers(
    section: DistilSettings, prepared: Prepared
) -> Callable[[TokenRows, LoopOptions], Data] | None:
    """What makes the batches where the student's own answers are learnt from; None otherwise."""
    if not section.on_policy:
        return None
    sampling = Sampling(
        share=section.on_policy,
        max_new_tokens=section.max_new_tokens,
        temperature=section.sampling_temperature,
        top_p=section.top_p,
        stop_ids=stop_ids(prepared.tokenizer, prepared.renderer),
    )
    return partial(OwnAnswers, model=prepared.language_model, sampling=sampling)
