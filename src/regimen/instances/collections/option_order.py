"""Whether the options of a template may be shown in another order.

A template may tie an option to its place: it numbers texts of its own by options (``Choice
{{ answer_choices[0] }}: {{ sol1 }}``), explains one of them, or shows the one that is right. Then
another order asks another question. So the order may change only where the prompt lists them all,
one after the other, and says nothing of a single one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import jinja2
from jinja2 import nodes

from regimen.instances.template_worker import SEPARATOR, Sandbox
from regimen.records import Template

OPTIONS = "answer_choices"
_SANDBOX = Sandbox()
_WHOLE = frozenset({"join", "length", "count"})
_BETWEEN = re.compile(r"(?:\b(?:or|and|\w)\b|[^\w])*", re.IGNORECASE)
"""What may stand between two options of a list: signs, 'or', 'and', labels of one character."""
_EXPLAINS = re.compile(r"[^\w\s(:=]*\s*(?:[(:=]|if\b|when\b|means?\b)", re.IGNORECASE)
"""How the text behind a list goes on where it says something of the last option."""


class _Tied(Exception):
    """An option may be tied to its place."""


def can_shuffle(template: Template) -> bool:
    """Whether the options may be permuted in the prompt without changing what is asked.

    True only where it is certain: the prompt (of a single source: all that comes before ``|||``)
    writes the whole list ``answer_choices`` (joined, or in a loop that looks at nothing else), or
    each of its places once, with nothing but punctuation, labels, 'or' and 'and' in between. A
    computed place, a ``{% set %}`` of anything but the joined list, and a prompt without options
    give False. ``TemplateWorker`` checks the rest when it renders: it permutes only where the
    answer is one of the options.
    """
    if not template.choices:
        return False
    try:
        walk = _Walk(_SANDBOX.parse(template.input), _number_of_options(template.choices))
        walk.body(walk.tree.body, single=not template.output)
    except (_Tied, jinja2.TemplateSyntaxError, RecursionError):
        return False
    return walk.listed


def _number_of_options(source: str) -> int | None:
    """How many options every row has; None where that depends on the row."""
    tree = _SANDBOX.parse(source)
    if any(not isinstance(node, nodes.Output) for node in tree.body):
        return None
    if any("|" in str(constant.value) for constant in tree.find_all(nodes.Const)):
        return None
    texts = tree.find_all(nodes.TemplateData)
    return 1 + sum(text.data.count(SEPARATOR) for text in texts)


class _Walk:
    """The prompt of a template in the order in which it is written."""

    def __init__(self, tree: nodes.Template, options: int | None) -> None:
        self.tree, self.options = tree, options
        self.listed = False
        self.shown: list[str | int] = []

    def body(self, body: Sequence[nodes.Node], *, single: bool) -> bool:
        """Check statements; whether what follows may still belong to the prompt."""
        for node in body:
            if not self.statement(node, single):
                self.end_of_list()
                return False
        self.end_of_list()
        return True

    def statement(self, node: nodes.Node, single: bool) -> bool:
        """Check one statement; whether the prompt may go on behind it."""
        if isinstance(node, nodes.Output):
            return self.output(node, single)
        self.end_of_list()
        if isinstance(node, nodes.If):
            self.expression(node.test)
            branches: list[list[nodes.Node]] = [node.body, node.else_]
            branches += [[part] for part in node.elif_]
            open_ends = [self.body(branch, single=single) for branch in branches]
            return any(open_ends)
        if isinstance(node, nodes.For):
            return self.loop(node, single)
        if isinstance(node, nodes.Assign) and not _uses_options(node.target):
            self.expression(node.node)
        elif _uses_options(node):
            raise _Tied
        return True

    def loop(self, node: nodes.For, single: bool) -> bool:
        """A loop over the options may look at nothing but them; one over anything else is checked.

        A loop may have no rounds, so the prompt may always go on behind it.
        """
        if _uses_options(node.target):
            raise _Tied
        if not _is_options(node.iter):
            self.expression(node.iter)
            if node.test is not None:
                self.expression(node.test)
            self.body(node.body, single=single)
            self.body(node.else_, single=single)
            return True
        own = {name.name for name in _names(node.target)} | {"loop"}
        used = {name.name for part in node.body for name in _names(part)}
        if node.test is not None or used - own:
            raise _Tied
        self.listed = True
        return True

    def output(self, node: nodes.Output, single: bool) -> bool:
        """Check texts and expressions, up to the separator."""
        for child in node.nodes:
            if not isinstance(child, nodes.TemplateData):
                self.written(child)
            elif single and SEPARATOR in child.data:
                if self.shown:
                    self.shown.append(child.data.partition(SEPARATOR)[0])
                return False
            elif self.shown:
                self.shown.append(child.data)
        return True

    def written(self, node: nodes.Expr) -> None:
        """An expression that is printed: part of a list of the options, or anything else."""
        place = _place(node, self.options)
        if place is not None:
            self.shown.append(place)
            return
        self.end_of_list()
        self.expression(node)

    def end_of_list(self) -> None:
        """Check the options that were printed one by one: each once, with nothing between."""
        shown, self.shown = self.shown, []
        places = [part for part in shown if isinstance(part, int)]
        if not places:
            return
        last = max(number for number, part in enumerate(shown) if isinstance(part, int))
        between = [part for part in shown[:last] if isinstance(part, str)]
        behind = "".join(part for part in shown[last:] if isinstance(part, str))
        each_once = self.options is not None and sorted(places) == list(range(self.options))
        told_apart = _EXPLAINS.match(behind) or not all(map(_BETWEEN.fullmatch, between))
        if told_apart or not each_once:
            raise _Tied
        self.listed = True

    def expression(self, node: nodes.Node) -> None:
        """Check that an expression uses the options as a whole list, if at all."""
        if _is_options(node):
            raise _Tied
        parts = node.iter_child_nodes()
        if isinstance(node, nodes.Filter) and _is_options(node.node) and node.name in _WHOLE:
            self.listed = self.listed or node.name == "join"
            parts = iter([*node.args, *node.kwargs])
        elif _joins(node):
            self.listed = True
            return
        for part in parts:
            self.expression(part)


def _names(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _uses_options(node: nodes.Node) -> bool:
    return any(name.name == OPTIONS for name in _names(node))


def _is_options(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.Name) and node.name == OPTIONS


def _joins(node: nodes.Node) -> bool:
    """Whether an expression is ``", ".join(answer_choices)``."""
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Getattr)
        and isinstance(node.node.node, nodes.Const)
        and node.node.attr == "join"
        and len(node.args) == 1
        and _is_options(node.args[0])
    )


def _place(node: nodes.Expr, options: int | None) -> int | None:
    """The place of the option that an expression prints, None where it is no constant one."""
    if not (isinstance(node, nodes.Getitem) and _is_options(node.node)):
        return None
    place = node.arg
    sign = 1
    if isinstance(place, nodes.Neg):
        sign, place = -1, place.node
    if not isinstance(place, nodes.Const) or type(place.value) is not int:
        return None
    value = sign * place.value
    return value + options if value < 0 and options is not None else value
