"""Drafts and their renderings to instances, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.instances.asking import below, trigger, with_rationale
from regimen.instances.demonstrations import Fits, within_budget
from regimen.instances.drafts import Draft, Worked
from regimen.instances.encodings import inverted_message, output_hint, user_message
from regimen.instances.lineage import task_lineage
from regimen.instances.task_rows import FormattingFailure, input_text
from regimen.instances.templates import RenderFailure, Rendering
from regimen.instances.words import normalise
from regimen.records import Instance, Message

_BLANK = "Remove the row, or change the template so that it writes something."


def assembled(
    draft: Draft,
    rendered: Sequence[Rendering | RenderFailure],
    fits: Fits,
    line: str | None = None,
) -> Instance | FormattingFailure:
    """The instance of a draft.

    Args:
        draft: of the row.
        rendered: of its jobs: the query's rendering, then those of its demonstrations.
        fits: whether a prompt keeps to its budget; demonstrations give way until it does.
        line: below the query of a template; when not given, the one that asks for the rationale of
            a row that has one.
    """
    if draft.template is not None:
        asks = trigger(draft.asked, draft.task, draft.spec) if line is None else line
        return _by_template(draft, rendered, fits, asks)
    return _inverted(draft, fits) if draft.inverted else _by_definition(draft, fits)


def _by_definition(draft: Draft, fits: Fits) -> Instance:
    task, spec, asked = draft.task, draft.spec, draft.asked
    text = below(asked.text, trigger(asked, task, spec))

    def prompt(shown: Sequence[Worked], wrong: Sequence[Worked] = ()) -> str:
        return user_message(
            task, text, spec, [one.example for one in shown], [one.example for one in wrong]
        )

    shown = within_budget(draft.positive, prompt, fits)
    wrong = within_budget(draft.negative, lambda some: prompt(shown, some), fits)
    return _instance(draft, prompt(shown, wrong), asked.answer, (*shown, *wrong))


def _inverted(draft: Draft, fits: Fits) -> Instance:
    """The row turned round: its output is given, its input is learned."""
    task, spec, asked = draft.task, draft.spec, draft.asked

    def prompt(shown: Sequence[Worked]) -> str:
        return inverted_message(task, asked.answer, spec, [one.example for one in shown])

    shown = within_budget(draft.positive, prompt, fits)
    return _instance(draft, prompt(shown), asked.bare, shown)


def _by_template(
    draft: Draft, rendered: Sequence[Rendering | RenderFailure], fits: Fits, line: str
) -> Instance | FormattingFailure:
    task, spec, template = draft.task, draft.spec, draft.template
    assert template is not None
    query, *others = rendered
    problem = _problem(draft, query)
    if problem is not None:
        return problem
    assert isinstance(query, Rendering)
    ask, answer = query.texts
    hinted = spec.output_format and not (template.choices or template.inverted)
    ask = below(ask, output_hint(task, spec) if hinted else "", line)
    # a demonstration that its template cannot render is not shown; the row itself can be asked
    worked = [
        (one, text)
        for one, other in zip(draft.positive, others, strict=True)
        if not _same(draft, query, other) and (text := _worked(draft, one, other))
    ]

    def prompt(shown: Sequence[tuple[Worked, str]]) -> str:
        return "\n\n".join([*(text for _, text in shown), ask])

    shown = within_budget(worked, prompt, fits)
    found = tuple(one for one, _ in shown)
    return _instance(draft, prompt(shown), answer, found, query)


def _same(draft: Draft, query: Rendering, other: Rendering | RenderFailure) -> bool:
    """Whether a template asks the same by a demonstration as by the query.

    Rows without an input are told apart by all their columns, of which a template may read a few.
    Then the words count, in any order: options may be in another one.
    """
    if isinstance(other, RenderFailure) or input_text(draft.row).strip():
        return False
    one, two = (normalise(found.texts[0]).split() for found in (query, other))
    return len(one) == len(two) and sorted(one) == sorted(two)


def _worked(draft: Draft, one: Worked, rendering: Rendering | RenderFailure) -> str:
    """A demonstration as its template writes it; empty where it does not."""
    if isinstance(rendering, RenderFailure):
        return ""
    ask, answer = rendering.texts
    if not ask.strip() or not answer.strip():
        return ""
    if one.asked is not None:
        ask = below(ask, trigger(one.asked, draft.task, draft.spec))
        answer = with_rationale(answer, one.asked, draft.task, draft.spec)
    return f"{ask}\n{answer}"


def _problem(draft: Draft, query: Rendering | RenderFailure) -> FormattingFailure | None:
    """Why a template's rendering is no instance."""
    assert draft.template is not None
    where = f"{draft.task.name}#{draft.template.name}"
    if isinstance(query, RenderFailure):
        return FormattingFailure(where, draft.number, query.error, query.got, query.fix)
    for text, error in zip(query.texts, ("no_input", "no_answer"), strict=True):
        if not text.strip():
            return FormattingFailure(where, draft.number, error, "a blank rendering", _BLANK)
    if draft.template.tags.get("choices_in_prompt", "").lower() != "true":
        return None
    ask, answer = (normalise(text) for text in query.texts)
    options = {normalise(option) for option in query.options} - {""}
    if answer in options and answer not in ask and any(option in ask for option in options):
        got = f"the prompt shows options, but not {query.texts[1][:60]!r}"
        fix = "Let the engine order the options; the template's own order loses one."
        return FormattingFailure(where, draft.number, "answer_not_shown", got, fix)
    return None


def _instance(
    draft: Draft,
    prompt: str,
    answer: str,
    shown: Sequence[Worked],
    rendering: Rendering | None = None,
) -> Instance:
    task, spec, asked = draft.task, draft.spec, draft.asked
    reasoning = asked.rationale if spec.chain_of_thought == "reasoning" else ""
    learned = answer if draft.inverted else with_rationale(answer, asked, task, spec)
    position: int | None = None
    permutation: tuple[int, ...] = ()
    if rendering is not None and rendering.permutation:
        permutation = rendering.permutation
        listed = all(option in prompt for option in rendering.options)
        if listed and answer.strip() in rendering.options:
            position = permutation.index(rendering.options.index(answer.strip()))
    engine = None if draft.inverted else asked.options
    return Instance(
        messages=(
            Message(role="user", content=prompt),
            Message(role="assistant", content=learned, reasoning=reasoning),
        ),
        lineage=task_lineage(
            task,
            draft.number,
            draft.row,
            draft.seed,
            template=draft.template or spec.encoding,
            demonstrations=tuple(one.shot.id for one in shown),
            shown=engine,
            permutation=permutation,
            position=position,
            variant=_variant(draft),
            parents=[one.shot.row for one in shown if one.shot.row is not None],
        ),
    )


def _variant(draft: Draft) -> str:
    """What was drawn beside template and demonstrations, as far as it is not the plain form."""
    parts = ["inverted"] if draft.inverted else []
    if draft.asked.rationale:
        parts.append(f"rationale_{draft.spec.chain_of_thought}")
    if draft.asked.options is not None and draft.asked.options.style != "dash":
        parts.append(f"options_{draft.asked.options.style}")
    return "+".join(parts)
