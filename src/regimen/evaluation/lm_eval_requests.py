"""lm-eval's requests as ids that a model can be asked for, and what it may ask for at all.

No model and no library of lm-eval here: only ids and settings in, ids and settings out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.errors import EvaluationError
from regimen.tokens.rendering import Rendered
from regimen.tokens.sharing import RenderedShared

Ids = tuple[int, ...]

# Generation settings that change nothing where the likeliest token is taken anyway.
_OF_SAMPLING = frozenset({"top_k", "min_p", "typical_p"})
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (1, None),
    "repetition_penalty": (1, 1.0, None),
    "num_return_sequences": (1, None),
    "use_cache": (True, False, None),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """Context and continuation within a model's context; ``lost`` ids were cut at the left."""

    context: Ids
    continuation: Ids
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How a continuation is generated; temperature 0 takes the likeliest token."""

    until: tuple[str, ...]
    max_tokens: int
    temperature: float
    top_p: float


def fit_left(context: Sequence[int], continuation: Sequence[int], max_length: int) -> Fitted:
    """Cut the context at its left as lm-eval does: what is read has ``max_length`` ids at most.

    The last id of a continuation is predicted and not read, so both may have one id more.

    Raises:
        EvaluationError: ``continuation-too-long``: it leaves no room for one id before it.
    """
    if len(continuation) > max_length:
        raise EvaluationError(
            "A text whose likelihood a task asks for is longer than the model's context.",
            slug="continuation-too-long",
            got=f"{len(continuation)} tokens",
            expected=f"{max_length} tokens or fewer",
            fix="Leave this task out, or evaluate a model with a longer context.",
        )
    lost = max(0, len(context) + len(continuation) - (max_length + 1))
    return Fitted(tuple(context[lost:]), tuple(continuation), lost)


def shared_rows(
    pairs: Sequence[tuple[Ids, Ids]],
) -> tuple[list[RenderedShared], list[tuple[int, int]]]:
    """Pairs of context and continuation, grouped by context so that each is read once.

    Returns:
        The rows in order of first appearance, and for each pair its row and its place there.
    """
    rests: dict[Ids, list[Ids]] = {}
    order: dict[Ids, int] = {}
    places = []
    for context, continuation in pairs:
        own = rests.setdefault(context, [])
        order.setdefault(context, len(order))
        places.append((order[context], len(own)))
        own.append(continuation)
    rows = [
        RenderedShared(context, tuple(Rendered(ids, (1.0,) * len(ids)) for ids in own))
        for context, own in rests.items()
    ]
    return rows, places


def generation(settings: Mapping[str, Any], default_tokens: int) -> Generation:
    """What a task's ``generation_kwargs`` ask for.

    Raises:
        EvaluationError: ``generation-unsupported``: beams, penalties and other ways to choose
            tokens would not be what the task means by its score.
    """
    left = dict(settings)
    until = left.pop("until", None) or ()
    stops = (until,) if isinstance(until, str) else tuple(map(str, until))
    lengths = [
        left.pop(name, None)
        for name in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    ]
    tokens = next((int(length) for length in lengths if length is not None), default_tokens)
    temperature = float(left.pop("temperature", None) or 0.0)
    sampled = left.pop("do_sample", None)
    # without a word for sampling, a temperature asks for it
    sampled = temperature > 0 if sampled is None else bool(sampled)
    top_p = float(left.pop("top_p", None) or 1.0)
    odd = {
        name: value
        for name, value in left.items()
        if not (name in _HARMLESS and value in _HARMLESS[name])
        and not (name in _OF_SAMPLING and not sampled)
    }
    if odd:
        raise EvaluationError(
            "A task asks for a way to generate that is not supported.",
            slug="generation-unsupported",
            got=", ".join(f"{name}: {value}" for name, value in odd.items()),
            expected="until, max_gen_toks, do_sample, temperature, top_p",
            fix="Leave this task out, or set other generation_kwargs in a task file of your own.",
        )
    return Generation(
        until=stops,
        max_tokens=tokens,
        # asked to sample without a temperature, transformers samples at 1
        temperature=(temperature or 1.0) if sampled else 0.0,
        top_p=top_p if sampled else 1.0,
    )
