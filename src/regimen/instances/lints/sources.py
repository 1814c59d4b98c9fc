"""Lints on the sources of templates: nothing is rendered, so they need no rows."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from regimen.instances.lints.columns import among
from regimen.instances.lints.findings import Finding, found, listed, quote
from regimen.instances.lints.halves import (
    GLOBALS,
    SEPARATOR,
    Parts,
    kept,
    loaded,
    names,
    parse,
    parts_of,
)
from regimen.records import Task, Template


def lint_sources(task: Task) -> list[Finding]:
    """What the sources of a task's templates give away without a row.

    Leaks, templates that read no column or are equal, literal answers outside of fixed options,
    orders of options that leave one out, and sources that cannot be compiled.
    """
    return list(_findings(task))


def _findings(task: Task) -> Iterator[Finding]:
    for template in task.templates:
        parts = parts_of(template)
        if isinstance(parts, str):
            yield _of(task, template, "template_fails", parts)
            continue
        yield from _leak(task, template, parts)
        yield from _ignores(task, template, parts)
        yield from _outside(task, template, parts)
        yield from _orders(task, template)
    yield from alike(task, {t.name: (_squeezed(t),) for t in task.templates})


def _of(task: Task, template: Template, lint: str, detail: str) -> Finding:
    return found(task.name, lint, [], 1, detail, count=1, template=template.name)


def _squeezed(template: Template) -> tuple[str, ...]:
    sources = (template.input, template.output, template.choices)
    return tuple(" ".join(source.split()) for source in sources)


def alike(task: Task, written: dict[str, tuple[object, ...]]) -> Iterator[Finding]:
    """One finding for each group of templates that write the same."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, texts in written.items():
        groups.setdefault(texts, []).append(name)
    for group in groups.values():
        if len(group) > 1:
            detail = f"equal: {', '.join(map(quote, group[:6]))}"
            of, first = len(task.templates), group[0]
            count = len(group)
            yield found(task.name, "templates_alike", [], of, detail, count=count, template=first)


def _leak(task: Task, template: Template, parts: Parts) -> Iterator[Finding]:
    """The one expression that the answer writes stands in the prompt, or the prompt reads it."""
    answers = {repr(kept(expression)) for expression in parts.answer}
    if len(answers) != 1 or not any(loaded(e) for e in parts.answer) or parts.texts or parts.others:
        return
    if answers & {repr(kept(expression)) for expression in parts.prompt} and not _a_choice(parts):
        detail = "the prompt writes the expression that the answer writes"
        yield _of(task, template, "template_leaks_answer", detail)
    elif all(any("output" in loaded(e) for e in half) for half in (parts.prompt, parts.answer)):
        detail = "the prompt reads `output`, which is the answer"
        yield found(
            task.name,
            "template_leaks_answer",
            [],
            1,
            detail,
            count=1,
            severity="warning",
            template=template.name,
        )


def _a_choice(parts: Parts) -> bool:
    """Whether the prompt writes other entries of the list that the answer is an entry of."""
    answer = kept(parts.answer[0])
    if not isinstance(answer, nodes.Getitem):
        return False
    entries = {
        repr(e)
        for e in map(kept, parts.prompt)
        if isinstance(e, nodes.Getitem) and repr(e.node) == repr(answer.node)
    }
    return bool(entries - {repr(answer)})


def _ignores(task: Task, template: Template, parts: Parts) -> Iterator[Finding]:
    fixed = not names(template.choices)
    reads = parts.reads - ({"answer_choices"} if fixed else set()) - GLOBALS
    if not reads:
        yield _of(task, template, "template_ignores_input", "the prompt reads no column")


def fixed_choices(template: Template) -> tuple[str, ...]:
    """The options of a template that are the same for every row; none where they are not."""
    if not template.choices.strip() or "{{" in template.choices or "{%" in template.choices:
        return ()
    return tuple(option.strip() for option in template.choices.split(SEPARATOR))


def _outside(task: Task, template: Template, parts: Parts) -> Iterator[Finding]:
    """Literal answers that are none of the fixed options."""
    choices = fixed_choices(template)
    if not choices or parts.answer or parts.joined:
        return
    texts = [*parts.texts, *parts.others]
    odd = [text for text in texts if not among(text, choices)]
    if odd:
        detail = f"writes {listed(odd)}; the options are {listed(choices)}"
        of, count = len(texts), len(odd)
        yield found(
            task.name,
            "answer_outside_options",
            [],
            of,
            detail,
            count=count,
            template=template.name,
        )


def _orders(task: Task, template: Template) -> Iterator[Finding]:
    """Hand-written lists of orders in which one is no permutation of the others."""
    for source in (template.input, template.output):
        tree = parse(source)
        assert not isinstance(tree, str)
        for outer in tree.find_all(nodes.List):
            orders = [_indices(item) for item in outer.items]
            if len(orders) < 2 or not all(orders):
                continue
            whole = max((tuple(sorted(order)) for order in orders), key=lambda o: len(set(o)))
            odd = [o for o in orders if len(o) == len(whole) and len(set(o)) < len(set(whole))]
            if odd and len(set(whole)) == len(whole):
                left = sorted(set(whole) - set(odd[0]))
                detail = f"the order {list(odd[0])} leaves out option {left[0]}"
                count, of = len(odd), len(orders)
                yield found(
                    task.name,
                    "options_not_shown",
                    [],
                    of,
                    detail,
                    count=count,
                    template=template.name,
                )


def _indices(node: nodes.Expr) -> tuple[int, ...]:
    if not isinstance(node, nodes.List):
        return ()
    values = [item.value if isinstance(item, nodes.Const) else None for item in node.items]
    return tuple(v for v in values if isinstance(v, int)) if None not in values else ()
