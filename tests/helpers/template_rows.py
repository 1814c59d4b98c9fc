"""Rows made for a template from what it does with its own free names."""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import nodes

from regimen.instances.template_worker import Sandbox

_ITEMS = {"first", "last", "choice", "random", "min", "max"}
_SAME = {"list", "sort", "unique", "reverse", "most_frequent", "default", "trim", "lower", "upper"}
_WHOLE = {"join", "length", "count", "map", "selectattr", "select", "reject", "rejectattr"}
_OF_LISTS = {"index", "append", "pop"}
_OF_MAPPINGS = {"items", "keys", "values", "get"}
_NUMBERS = {"int", "round", "abs", "float"}
_LENGTH = 4


@dataclass
class Shape:
    """What a template does with a value."""

    keys: dict[str, Shape] = field(default_factory=dict)
    items: Shape | None = None
    called: bool = False
    number: bool = False
    constants: list[object] = field(default_factory=list)
    like: Shape | None = None

    def key(self, name: str) -> Shape:
        return self.keys.setdefault(name, Shape())

    def item(self) -> Shape:
        self.items = self.items or Shape()
        return self.items

    def value(self, turn: int) -> object:
        if self.keys and not self.called:
            made = {name: shape.value(turn) for name, shape in self.keys.items()}
            return [made] * _LENGTH if self.items is not None else made
        if self.items is not None and not self.called:
            return [self.items.value(turn + number) for number in range(_LENGTH)]
        if self.like is not None:
            return self.like.value(turn)
        other: object = turn % 2 if self.number else f"some words {turn}"
        if self.constants:
            if all(type(one) is int for one in self.constants):
                other = max(map(int, map(str, self.constants))) + 1
            values = [*self.constants, other]
            return values[turn % len(values)]
        return other


class Shapes:
    """The shapes of the free names of a template."""

    def __init__(self, *sources: str) -> None:
        self.free: dict[str, Shape] = {}
        environment = Sandbox()
        known = {"answer_choices", "loop", *environment.globals}
        for source in sources:
            self.visit(environment.parse(source), dict.fromkeys(known))

    def row(self, turn: int) -> dict[str, object]:
        """A row with every free name; different turns take different branches."""
        return {name: shape.value(turn) for name, shape in self.free.items()}

    def shape(self, node: nodes.Node, bound: dict[str, Shape | None]) -> Shape | None:
        """The shape that an expression stands for, None where it is no part of a row."""
        if isinstance(node, nodes.Name):
            if node.name in bound:
                return bound[node.name]
            return self.free.setdefault(node.name, Shape())
        if isinstance(node, nodes.Getattr):
            base = self.shape(node.node, bound)
            return base.key(node.attr) if base else None
        if isinstance(node, nodes.Getitem):
            base = self.shape(node.node, bound)
            name = node.arg.value if isinstance(node.arg, nodes.Const) else None
            if base is None or isinstance(node.arg, nodes.Slice):
                return base
            return base.key(name) if isinstance(name, str) else base.item()
        if isinstance(node, nodes.Filter) and node.node is not None:
            base = self.shape(node.node, bound)
            if node.name in _ITEMS and base:
                return base.item()
            return base if node.name in _SAME else None
        return None

    def visit(self, node: nodes.Node, bound: dict[str, Shape | None]) -> None:
        """Note what a node and those below it do with their names."""
        if isinstance(node, nodes.For):
            base = self.shape(node.iter, bound)
            self.visit(node.iter, bound)
            inner = dict(bound)
            for name in [node.target, *node.target.find_all(nodes.Name)]:
                if isinstance(name, nodes.Name):
                    inner[name.name] = None
            if isinstance(node.target, nodes.Name):
                inner[node.target.name] = base.item() if base else None
            for part in [*node.body, *node.else_, *([node.test] if node.test else [])]:
                self.visit(part, inner)
            return
        if isinstance(node, nodes.Assign):
            self.visit(node.node, bound)
            if isinstance(node.target, nodes.Name):
                bound[node.target.name] = self.shape(node.node, bound)
            return
        self.note(node, bound)
        method = isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr)
        parts = [node.node.node, *node.args] if method else node.iter_child_nodes()
        for child in parts:
            self.visit(child, bound)

    def note(self, node: nodes.Node, bound: dict[str, Shape | None]) -> None:
        """What one node says of the shapes it uses."""
        if isinstance(node, nodes.Name | nodes.Getattr):
            self.shape(node, bound)
        elif isinstance(node, nodes.Getitem):
            self.shape(node, bound)
            bounds = [node.arg, *node.arg.iter_child_nodes()]
            for bound_node in bounds if isinstance(node.arg, nodes.Slice) else [node.arg]:
                if place := self.shape(bound_node, bound):
                    place.number = True
        elif isinstance(node, nodes.Filter) and node.node is not None:
            if base := self.shape(node.node, bound):
                base.number = base.number or node.name in _NUMBERS
                if node.name in _WHOLE and node.name not in ("length", "count"):
                    base.item()
                self._mapped(node, base)
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
            if owner := self.shape(node.node.node, bound):
                owner.called = node.node.attr not in _OF_LISTS | _OF_MAPPINGS
                if node.node.attr in _OF_LISTS:
                    owner.item()
                place = self.shape(node.args[0], bound) if node.args else None
                if node.node.attr == "index" and place is not None:
                    place.like = owner.item()
        elif isinstance(node, nodes.Compare):
            self._compared(node, bound)
        elif isinstance(node, nodes.Sub | nodes.Mul | nodes.Div | nodes.Neg | nodes.FloorDiv):
            for child in node.iter_child_nodes():
                if base := self.shape(child, bound):
                    base.number = True

    def _mapped(self, node: nodes.Filter, base: Shape) -> None:
        names = [*node.args[:1], *(pair.value for pair in node.kwargs if pair.key == "attribute")]
        if node.name in ("map", "selectattr", "rejectattr", "sort", "unique"):
            for name in names:
                if (isinstance(name, nodes.Const) and node.name != "map") or node.kwargs:
                    base.item().key(str(getattr(name, "value", "")))

    def _compared(self, node: nodes.Compare, bound: dict[str, Shape | None]) -> None:
        base = self.shape(node.expr, bound)
        for operand in node.ops:
            other = operand.expr
            if isinstance(other, nodes.Const) and base and operand.op not in ("in", "notin"):
                base.constants.append(other.value)
            elif isinstance(other, nodes.List | nodes.Tuple) and base:
                base.constants += [c.value for c in other.items if isinstance(c, nodes.Const)]
            elif isinstance(node.expr, nodes.Const) and (place := self.shape(other, bound)):
                if operand.op in ("in", "notin"):
                    continue
                place.constants.append(node.expr.value)
