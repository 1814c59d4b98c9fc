"""Lints on the sources of templates: nothing is rendered, so they need no rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import jinja2
from jinja2 import nodes

from regimen.instances.lints.columns import among
from regimen.instances.lints.findings import Finding, found, listed, quote
from regimen.instances.templates import compile_check
from regimen.records import Task, Template

SEPARATOR = "|||"
_PARSER = jinja2.Environment()
# Filters that leave what they show readable as the answer.
_KEEPING = {"trim", "lower", "upper", "capitalize", "title", "string"}


@dataclass(slots=True)
class Parts:
    """What a template writes, in two halves.

    Args:
        prompt: expressions that are written into the prompt.
        answer: expressions that are written into the answer.
        texts: literal alternatives of the answer, stripped, without blank ones.
        others: further alternatives of an expression such as ``{{ ["No", "Yes"][label] }}``.
        joined: a text of the answer is written next to something else, so it is no alternative.
        reads: names of the row that the prompt's text depends on.
    """

    prompt: list[nodes.Expr] = field(default_factory=list)
    answer: list[nodes.Expr] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    joined: bool = False


@lru_cache(maxsize=256)
def parse(source: str) -> nodes.Template | str:
    """The tree of a template, or why it cannot be compiled. Nothing of it runs."""
    failure = compile_check(source)
    return _PARSER.parse(source) if failure is None else f"{failure.error}: {failure.got}"


def names(source: str) -> set[str]:
    """Names that a template reads, its own variables among them; none if it does not compile."""
    tree = parse(source)
    return set() if isinstance(tree, str) else _loaded(tree) - set(_PARSER.globals)


def _loaded(tree: nodes.Node) -> set[str]:
    own = [tree] if isinstance(tree, nodes.Name) else []
    return {n.name for n in (*own, *tree.find_all(nodes.Name)) if n.ctx == "load"}


def template_names(template: Template) -> set[str]:
    """Names that a template takes from its row anywhere: prompt, answer, options."""
    return names(template.input) | names(template.output) | names(template.choices)


def parts_of(template: Template) -> Parts | str:
    """The halves of a template, or why it cannot be compiled."""
    trees = []
    for source in (template.input, template.output, template.choices):
        tree = parse(source)
        if isinstance(tree, str):
            return tree
        trees.append(tree)
    parts = Parts()
    _walk(trees[0].body, None if template.output else False, parts)
    if template.output:
        _walk(trees[1].body, True, parts)
    return parts


def _walk(body: Sequence[nodes.Node], in_answer: bool | None, parts: Parts) -> bool | None:
    """Collect what a body writes; whether the separator has passed at its end.

    ``in_answer`` is None where no separator counts: the template has an output of its own.
    """
    for node in body:
        if isinstance(node, nodes.Output):
            before = len(parts.texts) + len(parts.answer)
            for part in node.nodes:
                in_answer = _write(part, in_answer, parts)
            parts.joined |= len(parts.texts) + len(parts.answer) > before + 1
        elif isinstance(node, nodes.If):
            _reads(node.test, in_answer, parts)
            branches = [node.body, *(b.body for b in node.elif_), node.else_]
            for other in node.elif_:
                _reads(other.test, in_answer, parts)
            ends = [_walk(branch, in_answer, parts) for branch in branches]
            in_answer = in_answer if in_answer is None else any(ends)
        elif isinstance(node, nodes.For):
            _reads(node.iter, in_answer, parts)
            in_answer = _walk([*node.body, *node.else_], in_answer, parts)
        elif isinstance(node, nodes.With | nodes.Scope | nodes.FilterBlock | nodes.AssignBlock):
            in_answer = _walk(node.body, in_answer, parts)
        elif isinstance(node, nodes.Assign):
            _reads(node.node, in_answer, parts)
    return in_answer


def _write(part: nodes.Node, in_answer: bool | None, parts: Parts) -> bool | None:
    if isinstance(part, nodes.TemplateData):
        before, bar, after = (
            part.data.partition(SEPARATOR) if in_answer is False else (part.data, "", "")
        )
        written = after if bar else before if in_answer else ""
        parts.texts += [written.strip()] if written.strip() else []
        return True if bar else in_answer
    assert isinstance(part, nodes.Expr)
    if in_answer and (literal := _alternatives(part)):
        parts.texts += literal[:1]
        parts.others += literal[1:]
        return in_answer
    (parts.answer if in_answer else parts.prompt).append(part)
    _reads(part, in_answer, parts)
    return in_answer


def _reads(expression: nodes.Node, in_answer: bool | None, parts: Parts) -> None:
    if not in_answer:
        parts.reads |= _loaded(expression)


def _alternatives(part: nodes.Node) -> list[str]:
    """The texts that an expression of constants may write; none where it takes any from the row."""
    if isinstance(part, nodes.Const):
        return [str(part.value).strip()]
    if isinstance(part, nodes.Getitem) and isinstance(part.node, nodes.List | nodes.Dict):
        items = part.node.items
        values = [item.value if isinstance(item, nodes.Pair) else item for item in items]
    elif isinstance(part, nodes.CondExpr) and part.expr2 is not None:
        values = [part.expr1, part.expr2]
    else:
        return []
    texts = [_alternatives(value) for value in values]
    return [text for one in texts for text in one] if all(texts) else []


def shown(expression: nodes.Expr) -> str:
    """What an expression shows, as text to compare: without filters that change case or ends."""
    while isinstance(expression, nodes.Filter) and expression.name in _KEEPING and expression.node:
        expression = expression.node
    return repr(expression)


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
    answers = {shown(expression) for expression in parts.answer}
    if (
        len(answers) != 1
        or not any(_loaded(e) for e in parts.answer)
        or parts.texts
        or parts.others
    ):
        return
    if answers & {shown(expression) for expression in parts.prompt}:
        detail = "the prompt writes the expression that the answer writes"
        yield _of(task, template, "template_leaks_answer", detail)
    elif all(any("output" in _loaded(e) for e in half) for half in (parts.prompt, parts.answer)):
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


def _ignores(task: Task, template: Template, parts: Parts) -> Iterator[Finding]:
    fixed = not names(template.choices)
    reads = parts.reads - ({"answer_choices"} if fixed else set()) - set(_PARSER.globals)
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
