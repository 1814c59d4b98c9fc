"""Settings of lm-eval's tasks: ``evaluate.lm_eval``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from regimen.settings.base import Count, CountOrNone, Section, Text
from regimen.settings.training import installed


def _with_library(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Tasks need the library: its absence is told before anything runs."""
    installed("lm_eval")
    return tasks


class LmEvalSettings(Section):
    """Tasks of lm-eval (EleutherAI), asked of every model with the template of the training."""

    tasks: Annotated[
        tuple[Text, ...], Strict(False), Field(min_length=1), AfterValidator(_with_library)
    ]
    """Names of tasks, groups or tags of lm-eval; ``lm-eval ls tasks`` lists them."""

    num_fewshot: CountOrNone | None = None
    """Demonstrations in each prompt; each task's own number when not given."""

    limit: Count | None = None
    """Ask only the first so many documents of each task: to try things out, not to report."""

    include_path: Text | None = None
    """A directory with task files of your own."""

    apply_chat_template: bool = True
    """Ask models through the chat template that the tuned model carries. The prompted base is asked
    in lm-eval's plain text all the same."""

    fewshot_as_multiturn: bool = True
    """Demonstrations as turns of the conversation; else all in one turn of the user."""

    max_gen_toks: Count = 256
    """Longest answer in tokens, where a task does not say."""
