"""The judge of ``evaluate``: made from the settings, asked about answers that are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regimen import console
from regimen.evaluation.judged import Given, Judging, judge_answers, judged_items, people_block
from regimen.evaluation.judgements import judgements_to_table
from regimen.evaluation.systems import Answer
from regimen.evaluation.tables import judge_table
from regimen.judging.judge import FunctionJudge, GeneratorJudge, Judge, OptionJudge
from regimen.judging.people import read_labelled_pairs
from regimen.judging.prompts import CRITERIA, JudgePrompt, Turns
from regimen.judging.votes import PrincipleJudge, VotingJudge
from regimen.records import Item
from regimen.runs import Run
from regimen.settings.judge import AnswerJudgeSettings, JudgeSettings
from regimen.stages.common import path_key
from regimen.stages.generators import Watched, make_generator
from regimen.stages.guarded import guarded
from regimen.tables import write_table


def judge_blocks(
    section: JudgeSettings | None,
    run: Run,
    items: Sequence[Item],
    answers: Mapping[str, Sequence[Answer]],
) -> dict[str, Any]:
    """The blocks ``judge`` and ``judged_by`` of ``evaluation.json``; none without a judge.

    Every verdict is written to ``judgements.parquet``.

    Args:
        section: of the judge.
        run: of the stage.
        items: of all suites.
        answers: of every system, aligned with the items.

    Raises:
        EvaluationError: ``judge-suite``, ``judge-system``, ``nothing-judged``.
        DataError: people's labels cannot be read.
        SettingsError: a function of one's own is not there.
    """
    if section is None:
        return {}
    how = Judging(
        judge=make_judge(section),
        pairs=section.pairs,
        scale=section.scale if section.kind == "pointwise" else None,
        swap=section.swap,
    )
    chosen = judged_items(items, section.suites, section.limit)
    given: Given = {
        name: [turns_of(own[place]) for place in chosen] for name, own in answers.items()
    }
    judged = judge_answers(how, [items[place] for place in chosen], given)
    write_table(run.path("judgements.parquet"), judgements_to_table(judged.rows))
    people = None
    if section.people is not None:
        people = people_block(how, read_labelled_pairs(Path(section.people)))
    shown = judge_table({"judge": judged.blocks}, f"judge: {how.judge.name}")
    console.table(shown.title, shown.columns, shown.rows)
    return {
        "judge": judged.blocks,
        "judged_by": {
            "name": how.judge.name,
            "kind": section.kind,
            "swap": section.swap and section.kind == "pairwise",
            "criteria": list(section.criteria or CRITERIA) if section.generator else [],
            "items": len(chosen),
            "strengths": judged.strengths,
            "people": people,
        },
    }


def make_judge(
    section: AnswerJudgeSettings, principles: Sequence[str] = (), seed: int = 0
) -> Judge:
    """The judge that the settings name.

    Args:
        section: of the judge.
        principles: each question is judged by one of them, drawn by ``seed``; by the section's
            criteria, all of them, when empty.
        seed: of the draws.

    Raises:
        SettingsError: a function of one's own is not there.
        DataError: a file of prepared verdicts cannot be used.
    """
    if section.function is not None:
        function = guarded(section.function, section.time_limit)
        bounds = (-1.0, 1.0)
        if section.kind == "pointwise":
            bounds = (float(section.scale[0]), float(section.scale[1]))
        return FunctionJudge(function, section.function.function, bounds)
    asked = _asked_model(section)
    if principles:
        return PrincipleJudge(judges=tuple(asked((one,)) for one in principles), seed=seed)
    return asked(section.criteria or CRITERIA)


def _asked_model(section: AnswerJudgeSettings) -> Callable[[tuple[str, ...]], Judge]:
    """A model as a judge, by its criteria; the model is the same for all of them."""
    assert section.generator is not None
    by = section.generator
    prompt = JudgePrompt(scale=section.scale, explain=section.explain and not section.probabilities)
    if section.probabilities:
        from regimen.stages.likelihoods import LocalLikelihoods
        from regimen.stages.models import LazyGenerator, load

        path = str(by.model)
        likelihoods = LocalLikelihoods(LazyGenerator(path, lambda: load(path)))
        return lambda criteria: OptionJudge(
            likelihoods=likelihoods, prompt=replace(prompt, criteria=criteria)
        )
    generator = Watched(make_generator(by, []), "judge")

    def one(criteria: tuple[str, ...]) -> Judge:
        judges = tuple(
            GeneratorJudge(
                generator=generator,
                prompt=replace(prompt, criteria=criteria),
                max_new_tokens=by.max_new_tokens,
                temperature=by.temperature,
                sample=number,
            )
            for number in range(section.votes)
        )
        return judges[0] if len(judges) == 1 else VotingJudge(judges=judges)

    return one


def judge_inputs(section: AnswerJudgeSettings | None) -> dict[str, str]:
    """What the judge reads, by content: a change of it makes the stage stale."""
    if section is None:
        return {}
    people = section.people if isinstance(section, JudgeSettings) else None
    named: dict[str, str | None] = {"judge.people": people}
    if section.function is not None:
        named["judge.function"] = section.function.file
    if section.generator is not None:
        it = section.generator
        named["judge.generator"] = it.scripted if it.endpoint is None else None
        named["judge.model"] = it.model if it.endpoint is None else None
    return {name: path_key(path) for name, path in named.items() if path is not None}


def turns_of(answer: Answer) -> Turns | None:
    """A system's answer to each turn of the user; None where its request failed."""
    if answer.error:
        return None
    return tuple(turn.answer for turn in answer.turns) or (answer.text,)
