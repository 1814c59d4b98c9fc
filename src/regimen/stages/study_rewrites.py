"""The work of a cell of the study ``rewrites``: a model from scratch, then unseen rules."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.forward import LanguageModel, prepare
from regimen.models.hardware import bf16_is_fast, set_up
from regimen.models.loading import ModelSpec, load_model
from regimen.objectives.supervised import Supervised
from regimen.runs import Run
from regimen.settings.training import TrainingSettings
from regimen.stages.study_scores import score_table
from regimen.stages.training import Prepared
from regimen.stages.training_run import Job, run_training
from regimen.studies.cells import SCORES, TIMES
from regimen.studies.rewrites import (
    COPIED,
    END,
    LETTERS,
    MARKS,
    SEEN,
    UNSEEN,
    Example,
    Form,
    Rule,
    asked_of,
    copies_of,
    encoded,
    examples,
    rules,
)
from regimen.tables import write_table
from regimen.tokens.rendering import Renderer
from regimen.tokens.store import TokenRows

ROWS_AT_ONCE = 128
SAVED_EVERY = 500
"""Steps between checkpoints: a small cell loses half a minute at most."""

KERNELS = 1024
"""For a model this small, to compile a kernel takes longer than its product; few batches' shapes
differ, so the kernels come back."""

MARGIN = 8
"""Letters beyond the longest result that an answer may have."""


def train_and_ask(body: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Train on ``work.rules`` rules and ask those that it saw and others.

    An interrupted training goes on from its last checkpoint, as any training does.
    """
    set_up(kernels=KERNELS)
    began = time.monotonic()
    form, seed = Form(**body["work"]["form"]), int(body["seed"])
    trained, unseen = rules(form, int(body["work"]["rules"]), form.unseen, seed)
    model = prepare(load_model(ModelSpec(config=_config(form)), seed=seed))
    state = run_training(run, _job(form, seed, model, trained)).state
    trained_in = time.monotonic() - began
    # the asked examples are the same for every seed and every number of rules
    asked = {
        UNSEEN: asked_of(unseen, form, form.asked, -1),
        SEEN: asked_of(trained, form, form.asked, -2),
        COPIED: copies_of(unseen, form, form.asked, -3),
    }
    found = {name: _right(model, some, form, bf16=bf16_is_fast()) for name, some in asked.items()}
    _write(run, asked, found)
    run.write_json(TIMES, {"tune": trained_in, "whole": time.monotonic() - began})
    for checkpoint in run.directory.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return {
        "num_tokens": state.tokens,
        "steps": state.step,
        "rules": len(trained),
        **{name: float(np.mean(right)) for name, right in found.items()},
    }


def _job(form: Form, seed: int, model: LanguageModel, trained: Sequence[Rule]) -> Job:
    """The training of a cell by the one loop."""
    tokenizer = _tokenizer(form)
    return Job(
        prepared=Prepared(model, tokenizer, Renderer(tokenizer), ()),
        rows=_rows(examples(trained, form, form.examples, seed)),
        objective=Supervised(),
        training=TrainingSettings(
            learning_rate=form.learning_rate,
            weight_decay=0.01,
            schedule="wsd",
            warmup_ratio=0.03,
            decay_ratio=0.3,
            tokens_per_batch=form.tokens_per_batch,
            max_steps=form.steps,
            logging_steps=50,
            save_steps=SAVED_EVERY,
            save_total_limit=1,
        ),
        seed=seed,
    )


def _tokenizer(form: Form) -> Any:
    """A symbol for each id, so that the folder of a checkpoint is a whole model."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*MARKS, *(f"a{number}" for number in range(form.letters))]
    words = models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=".")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=MARKS[END]
    )


def _rows(some: Sequence[Example]) -> TokenRows:
    flat = encoded(some)
    count = len(some)
    return TokenRows(
        flat["ids"],
        flat["weights"],
        flat["offsets"],
        np.full(count, -1, dtype=np.int32),
        np.arange(count + 1, dtype=np.int64),
    )


def _config(form: Form) -> dict[str, Any]:
    """A fresh model of the form's size."""
    vocabulary = LETTERS + form.letters
    longest = form.pattern + form.replacement + 2 * form.longest + form.replacement + 4 + MARGIN
    shared = {
        "model_type": form.model_type,
        "vocab_size": vocabulary,
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": END,
    }
    if form.model_type == "gpt2":
        return {
            **shared,
            "n_layer": form.layers,
            "n_head": form.heads,
            "n_embd": form.width,
            "n_inner": form.inner,
            "n_positions": longest,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        }
    return {
        **shared,
        "num_hidden_layers": form.layers,
        "num_attention_heads": form.heads,
        "num_key_value_heads": form.heads,
        "hidden_size": form.width,
        "intermediate_size": form.inner,
        "max_position_embeddings": longest,
        "tie_word_embeddings": True,
    }


def _right(model: LanguageModel, some: Sequence[Example], form: Form, *, bf16: bool) -> list[bool]:
    """Whether the greedy continuation of each prompt is its result and ends there."""
    engine = Engine(model, [END], rows=ROWS_AT_ONCE, bf16=bf16)
    most = form.longest + form.replacement + MARGIN
    prompts = [Prompt(str(n), one.prompt, max_new_tokens=most) for n, one in enumerate(some)]
    answers = dict(engine.generate(prompts))
    return [
        answers[str(number)].finish == "stop" and tuple(answers[str(number)].ids) == one.result
        for number, one in enumerate(some)
    ]


def _write(run: Run, asked: Mapping[str, Sequence[Example]], found: Mapping[str, Any]) -> None:
    """Scores as those of a pipeline's cell; a rule is a task."""
    rows = [
        {
            "suite": suite,
            "item_id": f"{number:06}",
            "system": "tuned",
            "score": float(right),
            "cluster": str(number) if suite == SEEN else json.dumps(one.rule[0]),
            "task": "rewrite",
            "family": "rewrites",
            "language": "",
        }
        for suite, some in asked.items()
        for number, (one, right) in enumerate(zip(some, found[suite], strict=True))
    ]
    write_table(run.path(SCORES), score_table(rows))
