"""What a template writes into the prompt and what into the answer, read from its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import jinja2
from jinja2 import nodes

from regimen.instances.templates import compile_check
from regimen.records import Template

SEPARATOR = "|||"
_PARSER = jinja2.Environment()
GLOBALS = frozenset(_PARSER.globals)
"""Names that a template has without its row."""
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
    return set() if isinstance(tree, str) else loaded(tree) - GLOBALS


def loaded(tree: nodes.Node) -> set[str]:
    """Names that an expression or a template reads."""
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
        parts.reads |= loaded(expression)


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


def kept(expression: nodes.Expr) -> nodes.Expr:
    """An expression without filters that change case or white space alone."""
    while isinstance(expression, nodes.Filter) and expression.name in _KEEPING and expression.node:
        expression = expression.node
    return expression
