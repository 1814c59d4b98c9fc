"""Of ``evaluate``: tasks of lm-eval, asked of every model with the template of the training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from regimen import console
from regimen.errors import EvaluationError, near
from regimen.evaluation.lm_eval_results import lm_eval_tasks
from regimen.evaluation.summaries import default_pairs
from regimen.settings.lm_eval import LmEvalSettings
from regimen.stages.common import path_key
from regimen.stages.evaluate_systems import PROMPTED
from regimen.stages.models import LazyGenerator

# What lm-eval and the data sets behind it raise; the rest would be a fault of this program.
_FAILURES = (OSError, ValueError, LookupError, TypeError, AssertionError)


def lm_eval_inputs(section: LmEvalSettings | None) -> dict[str, str]:
    """What makes an evaluation stale besides its settings: the content of your own task files."""
    if section is None or section.include_path is None:
        return {}
    return {"lm-eval tasks": path_key(section.include_path)}


def lm_eval_block(
    section: LmEvalSettings | None,
    systems: tuple[str, ...],
    generators: Mapping[str, LazyGenerator],
    seed: int,
) -> dict[str, Any]:
    """The block ``lm_eval`` of ``evaluation.json``; empty without settings.

    Args:
        section: what to ask.
        systems: names of the evaluation's systems; those that are models are asked, and the
            prompted base as the base in plain text.
        generators: the models by name.
        seed: of sampled answers and of the draws of demonstrations.

    Raises:
        EvaluationError: ``lm-eval-task-unknown``; ``lm-eval-failed`` with what the library said;
            ``generation-unsupported`` and its kin.
        TokenError: the template refuses a prompt, such as one with a system turn.
    """
    if section is None:
        return {}
    asked = {name: (generators[name], section.apply_chat_template) for name in generators}
    if PROMPTED in systems and section.apply_chat_template:
        asked[PROMPTED] = (generators["base"], False)
    with _quiet():
        import lm_eval

        manager = _manager(section)
        found, truncated = {}, {}
        for name, (generator, chat) in asked.items():
            found[name], truncated[name] = _results(section, manager, name, generator, chat, seed)
        return {
            "version": lm_eval.__version__,
            "apply_chat_template": {name: chat for name, (_, chat) in asked.items()},
            "num_fewshot": section.num_fewshot,
            "limit": section.limit,
            "truncated": truncated,
            "tasks": lm_eval_tasks(found, default_pairs(list(found))),
        }


def _results(
    section: LmEvalSettings,
    manager: Any,
    name: str,
    generator: LazyGenerator,
    chat: bool,
    seed: int,
) -> tuple[dict[str, Any], dict[str, int]]:
    """lm-eval's results of one model, and how many of its requests were cut at the left."""
    from lm_eval import simple_evaluate

    from regimen.stages.lm_eval_model import RegimenLM

    with console.progress(None, f"lm-eval {name}", "requests") as bar:
        model = RegimenLM(
            name,
            generator.loaded,
            chat=chat,
            bf16=generator.bf16,
            rows=generator.rows,
            max_gen_toks=section.max_gen_toks,
            seed=seed,
            advance=bar.advance,
        )
        try:
            found = simple_evaluate(
                model=model,
                tasks=list(section.tasks),
                num_fewshot=section.num_fewshot,
                limit=section.limit,
                task_manager=manager,
                apply_chat_template=chat,
                # lm-eval refuses turns where there is no template
                fewshot_as_multiturn=chat and section.fewshot_as_multiturn,
                bootstrap_iters=1000,
                log_samples=True,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        except _FAILURES as error:
            raise EvaluationError(
                f"lm-eval could not evaluate {name!r}.",
                slug="lm-eval-failed",
                got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}",
                expected=f"tasks that lm-eval can load and score: {', '.join(section.tasks)}",
                fix="Try `lm-eval run --tasks NAME --limit 1` alone; data sets of the hub must be "
                "in its cache where there is no network.",
            ) from error
    assert found is not None
    return found, dict(model.truncated)


def _manager(section: LmEvalSettings) -> Any:
    """lm-eval's task manager, which knows every task that is asked for.

    Raises:
        EvaluationError: ``lm-eval-task-unknown``.
    """
    from lm_eval.tasks import TaskManager

    if section.include_path is not None:
        # lm-eval's own thousands of files take long to look through
        own = TaskManager(include_path=section.include_path, include_defaults=False)
        if set(section.tasks) <= set(own.all_subtasks):
            return own
    manager = TaskManager(include_path=section.include_path)
    known = set(manager.all_tasks)
    unknown = [name for name in section.tasks if name not in known and "*" not in name]
    if unknown:
        raise EvaluationError(
            "lm-eval has no such task.",
            slug="lm-eval-task-unknown",
            got=", ".join(unknown),
            expected="a task, group or tag of lm-eval, or of evaluate.lm_eval.include_path",
            fix=near(unknown[0], known) if len(known) < 100 else _close(unknown[0], known),
        )
    return manager


def _close(name: str, known: set[str]) -> str:
    """A near name; of thousands, no list of all."""
    said = near(name, known)
    return "`lm-eval ls tasks` lists all." if said.startswith("Known") else said


@contextmanager
def _quiet() -> Iterator[None]:
    """Without lm-eval's log, which tells what our own table and errors tell."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
