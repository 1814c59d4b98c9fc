"""Tasks of Super-NaturalInstructions and of the first Natural Instructions, from their JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regimen.instances.languages import language_code
from regimen.instances.readers import RowFailure
from regimen.records import Example, Row, Task

NO_ANSWER_FIX = "Write the expected output, or remove the instance."


def natural_instructions_task(
    values: Mapping[str, Any],
    *,
    name: str,
    source: str = "",
    licence: str = "",
    language: str = "",
) -> Iterator[Task | RowFailure]:
    """A Super-NaturalInstructions task, after a failure for each instance that it cannot use.

    Rows are numbered by their place in ``Instances``, from 1. The task's language is the first of
    the input and output languages that is not English: what makes it cross-lingual.
    ``licence`` and ``language`` hold where the task says nothing.
    """
    rows: list[Row] = []
    instances = _list(values.get("Instances"))
    for number, instance in enumerate(instances, start=1):
        row, failure = _instance_row(instance, number)
        rows += [row] if row else []
        if failure:
            yield failure
    if not instances:
        got = f"the task {name} has no instances"
        yield RowFailure(0, "no_instances", got, "Give the task instances, or remove its file.")
    if not rows:
        return
    categories = _texts(values.get("Categories"))
    said = "; ".join(_texts(values.get("Instance License")))
    yield Task(
        name=name,
        family=categories[0] if categories else "",
        category=categories[0] if categories else "",
        language=_language(values, language),
        instruction_language=_first_code(values, "Instruction_language") or "en",
        licence=licence if licence and said.casefold() in ("", "unknown") else said,
        source=source,
        definition=next(iter(_texts(values.get("Definition"))), ""),
        avoid="\n".join(_avoided(values.get("Things to Avoid"))),
        positive=_examples(values.get("Positive Examples")),
        negative=_examples(values.get("Negative Examples")),
        instances=tuple(rows),
        tags=_tags(values, categories),
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _texts(value: Any) -> list[str]:
    """A text or a list of texts as a list; what is empty or no text is left out."""
    values = [value] if isinstance(value, str) else _list(value)
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]


def _outputs(value: Any) -> list[str]:
    """Accepted outputs; numbers count as texts."""
    values = _list(value) if isinstance(value, list | tuple) else [value]
    numbers = (int, float)
    texts = (str(v) if isinstance(v, numbers) and not isinstance(v, bool) else v for v in values)
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _instance_row(instance: Any, number: int) -> tuple[Row | None, RowFailure | None]:
    if not isinstance(instance, Mapping):
        got = f"an instance is a {type(instance).__name__}"
        return None, RowFailure(number, "not_an_object", got, "Write input and output.")
    text, outputs = instance.get("input"), _outputs(instance.get("output"))
    if not isinstance(text, str) or not text.strip():
        got = f"input is {text!r}"[:80]
        return None, RowFailure(number, "no_question", got, "Write the input as a text.")
    if not outputs:
        got = f"output is {instance.get('output')!r}"[:80]
        return None, RowFailure(number, "no_answer", got, NO_ANSWER_FIX)
    return {**instance, "output": outputs}, None


def _examples(value: Any) -> tuple[Example, ...]:
    """Demonstrations; one without an output shows nothing and is left out."""
    found = []
    for example in _list(value):
        outputs = _outputs(example.get("output")) if isinstance(example, Mapping) else []
        if outputs and isinstance(example.get("input"), str):
            said = {
                key: "\n".join(_texts(example[key]))
                for key in ("explanation", "reason", "suggestion")
                if example.get(key) is not None
            }
            found.append(Example(input=example["input"], output=outputs[0], **said))
    return tuple(found)


def _avoided(value: Any) -> list[str]:
    """Things to avoid; a lone dash is how Natural Instructions says that there are none."""
    return [text for text in _texts(value) if text != "-"]


def _first_code(values: Mapping[str, Any], key: str) -> str:
    names = _texts(values.get(key))
    return language_code(names[0]) if names else ""


def _language(values: Mapping[str, Any], default: str) -> str:
    codes = [_first_code(values, key) for key in ("Input_language", "Output_language")]
    foreign = [code for code in codes if code not in ("", "en")]
    return next(iter((*foreign, *filter(None, codes))), default or "en")


def _tags(values: Mapping[str, Any], categories: Sequence[str]) -> dict[str, str]:
    """What else the task says of itself, as texts."""
    tags = {
        "domains": "; ".join(_texts(values.get("Domains"))),
        "reasoning": "; ".join(_texts(values.get("Reasoning"))),
        "dataset": "; ".join(_texts(values.get("Source"))),
        "categories": "; ".join(categories) if len(categories) > 1 else "",
        "other_definitions": "\n".join(_texts(values.get("Definition"))[1:]),
        "input_language": _first_code(values, "Input_language"),
        "output_language": _first_code(values, "Output_language"),
    }
    return {name: text for name, text in tags.items() if text}
