"""Templates are checked in this process without running anything of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes, pass_context
from jinja2.runtime import Context

from regimen.errors import TemplateError, near
from regimen.instances import template_worker

FIXES = {
    "template_timeout": "Shorten the template's loops, or drop the row.",
    "template_memory": "Shorten the loops and repetitions of the template, or the row's values.",
    "template_attribute": "Read columns only; put anything else into a column of its own.",
    "template_syntax": "Correct the template on that line.",
    "template_error": "Correct the expression, or guard it with an {% if %}.",
}


@dataclass(frozen=True, slots=True)
class RenderFailure:
    """Why a row has no text. ``error`` is the slug that the ledger counts."""

    error: str
    got: str
    fix: str


@pass_context
def _never_called(context: Context, *values: Any, **named: Any) -> str:
    """Stands for every filter here: jinja2 does not fold a filter that wants the context."""
    raise AssertionError("a filter was called while a template was checked")


def _checker() -> jinja2.Environment:
    """The worker's environment, made unable to compute anything while it compiles."""
    environment = template_worker.Sandbox()
    environment.filters = dict.fromkeys(environment.filters, _never_called)
    return environment


_CHECKER = _checker()
_READS_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_OPTIONAL = {"default", "d", "defined", "undefined"}


def _names(source: str) -> set[str] | RenderFailure:
    """Names that the template takes from the row and needs, or why it cannot be compiled."""
    try:
        tree = _CHECKER.parse(source)
        if other := next(tree.find_all(_READS_FILES), None):
            got = f"line {other.lineno}: {{% {type(other).__name__.lower()} %}}"
            return RenderFailure("template_syntax", got, "Write the text of the other file here.")
        names = meta.find_undeclared_variables(tree)
        guarded = {
            node.node.name
            for node in tree.find_all((nodes.Filter, nodes.Test))
            if node.name in _OPTIONAL and isinstance(node.node, nodes.Name)
        }
    except jinja2.TemplateSyntaxError as error:
        got = f"line {error.lineno}: {error.message}"
        return RenderFailure("template_syntax", got[:200], FIXES["template_syntax"])
    except RecursionError:
        return RenderFailure("template_syntax", "too deep a nesting", "Nest less deeply.")
    return names - guarded - set(_CHECKER.globals)


@lru_cache(maxsize=4096)
def read_columns(sources: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names that the sources may look up, needed or not; None where one cannot be compiled."""
    names: set[str] = set()
    for source in sources:
        try:
            names |= meta.find_undeclared_variables(_CHECKER.parse(source))
        except (jinja2.TemplateSyntaxError, RecursionError):
            return None
    return tuple(sorted(names))


def compile_check(source: str) -> RenderFailure | None:
    """Why a template cannot be compiled, with the line; None if it can. Runs nothing of it."""
    names = _names(source)
    return names if isinstance(names, RenderFailure) else None


def missing_columns(source: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Names that the template needs and ``columns`` lacks, sorted.

    A name that the template guards itself (``is defined``, ``default``) is not needed.

    Raises:
        TemplateError: the template cannot be compiled.
    """
    names = _names(source)
    if isinstance(names, RenderFailure):
        raise _syntax_error(names, "")
    return tuple(sorted(names - set(columns)))


def check_template(source: str, columns: Iterable[str], where: str = "") -> None:
    """Raise ``TemplateError`` unless the template compiles and finds its columns.

    Args:
        source: the template.
        columns: names of the columns that every row has.
        where: file and line of the template, for the error.
    """
    failure = compile_check(source)
    if failure is not None:
        raise _syntax_error(failure, where)
    known = sorted(set(columns))
    absent = missing_columns(source, known)
    if absent:
        raise TemplateError(
            f"The template names {', '.join(map(repr, absent))}, which the rows do not have.",
            slug="template-missing-column",
            got=", ".join(absent),
            expected=", ".join(known) or "a source with columns",
            fix=" ".join(near(name, known) for name in absent) if known else "",
            where=where,
        )


def _syntax_error(failure: RenderFailure, where: str) -> TemplateError:
    return TemplateError(
        "The template cannot be compiled.",
        slug="template-syntax",
        got=failure.got,
        expected="a jinja2 template that stands alone",
        fix=failure.fix,
        where=where,
    )
