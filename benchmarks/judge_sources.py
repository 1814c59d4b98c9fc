"""Answer pairs that three people labelled, and the judges that are measured on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.draws import seeded
from regimen.judging.comparisons import AnswerPair, compare
from regimen.judging.judge import FunctionJudge
from regimen.judging.overlap import rouge_l
from regimen.protocols import Alternatives
from regimen.records import Item, Message
from stored import read_whole

FOLDER = "pandalm"
PEOPLE_FILE, MODEL_FILE = "testset-v1.json", "gpt-3.5-turbo-testset-v1.json"
PEOPLE = ("annotator1", "annotator2", "annotator3")
# 0 is a tie, 1 and 2 name the better answer.
LABELS: Mapping[Any, int | None] = {0: 0, 1: 1, 2: -1, "Tie": 0, "1": 1, "2": -1, "garbage": None}
SEED = 11

Label = int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs with people's preferences for the first answer, a stored judge's, and clusters.

    ``systems`` are the models that wrote the answers; a cluster is the application that the
    instruction was written for.
    """

    pairs: tuple[AnswerPair, ...]
    people: Mapping[str, tuple[Label, ...]]
    stored: tuple[Label, ...]
    clusters: tuple[str, ...]


def read_pairs(data: Path, most: int | None) -> Pairs:
    """The pairs of a folder; the stored judge's file has the same rows in the same order.

    Raises:
        DataError: as ``read_whole``; ``rows-differ``.
    """
    labelled = read_whole(data / FOLDER / PEOPLE_FILE, most)
    told = read_whole(data / FOLDER / MODEL_FILE, most)
    if [row["idx"] for row in labelled] != [row["idx"] for row in told]:
        raise DataError(
            "The stored judge's rows are not those that people labelled.",
            slug="rows-differ",
            got=f"{len(told)} stored verdicts, {len(labelled)} labelled pairs",
            expected="the same idx, row by row",
        )
    return Pairs(
        pairs=tuple(_pair(row) for row in labelled),
        people={name: tuple(LABELS[row[name]] for row in labelled) for name in PEOPLE},
        stored=tuple(LABELS[row["gpt_result"]] for row in told),
        clusters=tuple(str(row["motivation_app"]) for row in labelled),
    )


def _pair(row: Mapping[str, Any]) -> AnswerPair:
    prompt = "\n\n".join(text for text in (row["instruction"], row["input"]) if text)
    first, second = str(row["cmp_key"]).split("_")
    return AnswerPair(
        item=Item(
            suite=FOLDER,
            messages=(Message(role="user", content=prompt),),
            references=(),
            cluster=str(row["motivation_app"]),
        ),
        systems=(first, second),
        a=(str(row["response1"]),),
        b=(str(row["response2"]),),
    )


def sign(value: float) -> float:
    """-1, 0 or 1."""
    return float((value > 0) - (value < 0))


def longer(prompt: str, a: str, b: str) -> float:
    """The answer with more characters."""
    return sign(len(a) - len(b))


def overlap(prompt: str, a: str, b: str) -> float:
    """The answer whose ROUGE-L with the instruction is higher."""
    return sign(rouge_l(a, [prompt]) - rouge_l(b, [prompt]))


def coin(prompt: str, a: str, b: str) -> float:
    """A coin that falls the same way in both orders."""
    first, second = sorted((a, b))
    heads = seeded(SEED, "coin", prompt, first, second).random() < 0.5
    return 1.0 if (a == first) == heads else -1.0


def likelier(pairs: Sequence[AnswerPair], model: str) -> Callable[[str, str, str], float]:
    """The answer with the higher mean log-probability of its tokens after the prompt."""
    from regimen.stages.likelihoods import LocalLikelihoods
    from regimen.stages.models import LazyGenerator, load

    asked = {
        str(n): Alternatives(
            id=str(n),
            text=pair.item.messages[0].text + "\n\n",
            answers=tuple(text for turns in (pair.a, pair.b) for text in turns or ()),
        )
        for n, pair in enumerate(pairs)
    }
    means: dict[tuple[str, str], float] = {}
    likelihoods = LocalLikelihoods(LazyGenerator(model, lambda: load(model)))
    for key, found in likelihoods.answer_logps(list(asked.values())):
        prompt = pairs[int(key)].item.messages[0].text
        per_token = [p / n for p, n in zip(found.logps, found.tokens, strict=True)]
        means.update(
            ((prompt, text), mean)
            for text, mean in zip(asked[key].answers, per_token, strict=False)
        )

    # An answer beyond the model's context has no mean: a KeyError, which is a failed comparison.
    return lambda prompt, a, b: sign(means[prompt, a] - means[prompt, b])


def labels_of(function: Callable[[str, str, str], float], name: str, data: Pairs) -> list[Label]:
    """A function's preferences for the first answer, asked in both orders."""
    found = compare(FunctionJudge(function, name), data.pairs)
    return [None if one.value is None else int(one.value) for one in found]
