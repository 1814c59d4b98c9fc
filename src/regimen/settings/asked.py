"""Settings of ``build.held_out.asked``: held-out tasks that are asked in several ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, model_serializer

from regimen.settings.base import Conflict, Conflicts
from regimen.settings.formatting import FormattingSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""Name of a way of asking: letters, digits, ``-`` and ``_``."""

_OF_TRAINING = {
    "inverted_share": "turns rows round, and a test asks what the task asks",
    "template_share": "is for mixed, and a test asks in one way",
    "reference": "is what is learned, and a test accepts every accepted answer",
    "chain_of_thought_share": "is of the rows that show a rationale, and a test shows none",
}
"""What says nothing of a test's prompt, and why."""
_ONE_WAY = {"mixed": "definition", "tk_instruct": "natural_instructions"}


class AskedSettings(FormattingSettings):
    """What a way of asking has other than ``build.formatting``; what is not given is as there."""

    def conflicts(self) -> Iterator[Conflict]:
        """None by itself: ``asked_conflicts`` looks at it on top of ``build.formatting``."""
        return iter(())

    @model_serializer(mode="plain")
    def _given(self) -> dict[str, Any]:
        """The given fields alone: the others are no defaults, but what the build says."""
        return {name: getattr(self, name) for name in _names(self)}


def asked_formatting(base: FormattingSettings, asked: AskedSettings) -> FormattingSettings:
    """``base`` with the given fields of ``asked``, as far as a test's prompt has a place for them.

    A test has one encoding and one number of demonstrations: where ``base`` mixes and nothing else
    is given, ``mixed`` asks by definition, ``tk_instruct`` as Super-NaturalInstructions does, and
    of several numbers the smallest is taken. Fields of ``base`` for which the encoding has no place
    are left out.

    Raises:
        Conflicts: fields that are given exclude each other.
    """
    own = _names(asked)
    values: dict[str, Any] = {name: getattr(base, name) for name in _names(base)}
    values = {name: value for name, value in values.items() if name not in _OF_TRAINING}
    values["encoding"] = _ONE_WAY.get(base.encoding, base.encoding)
    for name in ("positive", "negative"):
        if not isinstance(values.get(name, 0), int):
            values[name] = min(values[name])
    if base.chain_of_thought == "reasoning":
        del values["chain_of_thought"]
    values |= {name: getattr(asked, name) for name in own}
    inherited = values.keys() - own - {"encoding"}
    found: list[Conflict] = []
    for conflict in _checked(values):
        if conflict.at and conflict.at[0] in inherited:
            del values[str(conflict.at[0])]
        else:
            found.append(conflict)
    if found:
        raise Conflicts(found)
    return FormattingSettings.model_validate(values)


def asked_conflicts(
    base: FormattingSettings, asked: Mapping[str, AskedSettings]
) -> Iterator[Conflict]:
    """What no test can be asked by, with its place below ``build``."""
    for name, one in asked.items():
        place = ("held_out", "asked", name)
        for conflict in (*_own_conflicts(one), *_merged_conflicts(base, one)):
            yield replace(conflict, at=(*place, *conflict.at))


def _own_conflicts(one: AskedSettings) -> Iterator[Conflict]:
    """Given fields that say nothing of a test's prompt."""
    for name in _names(one):
        if name in _OF_TRAINING:
            yield Conflict(what=_OF_TRAINING[name], at=(name,), fix="Remove it.")
    if "encoding" in one.model_fields_set and one.encoding in _ONE_WAY:
        yield Conflict(
            what=f"mixes ways of asking ({one.encoding}), and this is one of them",
            at=("encoding",),
            expected="definition, template or natural_instructions",
            fix="Name one way for each of its encodings.",
        )
    for name in ("positive", "negative"):
        if not isinstance(getattr(one, name), int):
            yield Conflict(
                what="draws a number for each row, and a test shows one number to all",
                at=(name,),
                expected="a number",
                fix="Name one way for each number.",
            )
    if "chain_of_thought" in one.model_fields_set and one.chain_of_thought == "reasoning":
        yield Conflict(
            what="says nothing in a prompt: reasoning is asked for by the chat template",
            at=("chain_of_thought",),
            expected="none, before or after",
        )


def _merged_conflicts(base: FormattingSettings, one: AskedSettings) -> Iterator[Conflict]:
    """Given fields that exclude each other, or for which the encoding has no place."""
    if one.encoding in _ONE_WAY:
        return
    try:
        whole = asked_formatting(base, one)
    except Conflicts as error:
        yield from error.found
        return
    if "templates" in one.model_fields_set and whole.encoding != "template":
        yield Conflict(
            what=f"is for templates, and the encoding {whole.encoding} asks by none",
            at=("templates",),
            fix="Remove it, or set encoding: template.",
        )


def _checked(values: Mapping[str, Any]) -> list[Conflict]:
    """The conflicts of a formatting section with these values."""
    return list(FormattingSettings.model_construct(**values).conflicts())


def _names(section: FormattingSettings) -> list[str]:
    """The given fields in the order of their definition."""
    return [name for name in type(section).model_fields if name in section.model_fields_set]
