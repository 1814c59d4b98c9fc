"""What a table asks: the first rule that fits decides, and says why.

The rules go from the shapes that are hard to mistake (conversations, options) to those that rest on
names alone. Nothing is drawn: equal tables give equal guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from regimen.errors import DataError
from regimen.instances.data_rows import Columns
from regimen.instances.data_values import texts_of
from regimen.instances.proposals.choices import letters_in_text, multiple_choice
from regimen.instances.proposals.instructions import instructions
from regimen.instances.proposals.rewordings import rewriting, summarisation, translation
from regimen.instances.proposals.roles import (
    ANSWER,
    CONTEXT,
    INPUT,
    LABEL,
    PAIRS,
    QUESTION,
    RATIONALE,
    SCORE,
    Guess,
    TaskType,
    counted,
    few_values,
    inputs,
    label_column,
    label_words,
    pair_of,
)
from regimen.instances.proposals.tables import MOSTLY, Column, Table

_SAMPLE = 500


def guess(table: Table) -> Guess:
    """What a table asks and which column plays which part.

    Raises:
        DataError: no column can be the answer to another (``no-task``).
    """
    for rule in _RULES:
        found = rule(table)
        if found is not None:
            return found
    texts = table.texts()
    plain = len(texts) == 1 and texts[0].words >= 5
    raise DataError(
        "No column of the data seems to be the answer to another.",
        slug="no-task",
        got="; ".join(f"{c.name[:30]}: {c.describe()}" for c in table.columns[:8]),
        expected="a column to ask and a column to answer",
        fix="Plain text is learned by tune with objective: language_modelling."
        if plain
        else "Write the task file yourself: data.columns: {input: ..., output: ...}.",
    )


def _pairs(table: Table) -> Guess | None:
    """Two texts, and a label or a score of both."""
    pair = pair_of(table, PAIRS)
    if pair is None:
        return None
    taken = {column.name for column in pair}
    instruction = table.named(("instruction",), "text")
    more = table.named(("input",), "text") if instruction is not None else None
    shown = [column for column in (instruction, more, *pair) if column is not None]
    score = table.named(SCORE, "number")
    if score is not None and not (few_values(score) and score.integers):
        return _score_guess(score, shown)
    label = label_column(table) or _other_labels(table, taken)
    if label is None:
        return None
    why = f"{pair[0].name!r} and {pair[1].name!r} are two texts with a label of both."
    return _labelled(table, "pair_classification", shown, label, why)


def _other_labels(table: Table, taken: set[str]) -> Column | None:
    """A column of labels by its values, the first whose name says nothing of an identifier."""
    free = [c for c in table.columns if c.name not in taken and not c.is_id]
    few = [c for c in free if few_values(c) and not c.key.endswith(("id", "key", "app"))]
    return next((c for c in few if c.distinct <= 10), None)


def _labelled(
    table: Table, kind: TaskType, shown: Sequence[Column], label: Column, why: str
) -> Guess:
    words, unnamed, said = label_words(table, label)
    reasons = {"type": [why], "output": [f"{label.name!r}: {label.describe()}.", counted(label)]}
    rationale = _rationale(table, label, *shown)
    return Guess(
        type=kind,
        columns={"input": inputs(shown), "output": label.name, **rationale},
        labels=words,
        why={**reasons, "labels": said},
        unnamed=unnamed,
        others=_other_outputs(table, label, shown),
    )


def _rationale(table: Table, *taken: Column) -> dict[str, Columns]:
    found = table.named(RATIONALE, "text")
    free = found is not None and found.name not in {column.name for column in taken}
    return {"rationale": found.name} if found is not None and free else {}


def _other_outputs(table: Table, chosen: Column, shown: Sequence[Column]) -> tuple[str, ...]:
    """Other columns that might be the output."""
    taken = {chosen.name, *(column.name for column in shown)}
    few = [c for c in table.columns if few_values(c) and c.name not in taken and not c.is_id]
    return tuple(f"{c.name!r} as the output: {c.distinct} values, {counted(c, 3)}" for c in few[:4])


def _classification(table: Table) -> Guess | None:
    """One text, and few short values that a column named for labels or answers holds."""
    label = label_column(table)
    answer = next(
        (c for name in ANSWER if (c := table.named((name,), "text", "number", "truth"))), None
    )
    if label is not None and answer is not None and not few_values(answer) and answer.words > 3:
        asked = table.named((*QUESTION, *INPUT), "text")
        if asked is not None and asked.name != answer.name:
            return None  # a question with an answer in words; the label says something else of it
    chosen = label or (answer if answer is not None and few_values(answer) else None)
    if chosen is None:
        return None
    shown = _shown(table, chosen)
    if not shown:
        return None
    if len(shown) == 1 and (lettered := letters_in_text(table, shown[0], chosen)) is not None:
        return lettered
    if chosen is not label and answer is not None and answer.kind == "number":
        return None  # a number that answers a question is no label
    why = f"{chosen.name!r} has {chosen.distinct} different values in {chosen.total:,} rows."
    return _labelled(table, "classification", shown, chosen, why)


def _shown(table: Table, output: Column) -> list[Column]:
    """The texts that are shown: a context with a question, or one text by name, or the longest."""
    free = [c for c in table.texts(output.name) if not few_values(c) and c.filled >= 0.5]
    context = next((c for name in CONTEXT for c in free if c.key == name), None)
    question = next((c for name in QUESTION for c in free if c.key == name), None)
    if context is not None and question is not None:
        return [context, question]
    named = next((c for name in (*QUESTION, *INPUT) for c in free if c.key == name), None)
    wordy = [c for c in free if c.words >= 1.5]
    longest = max(wordy, key=lambda c: c.words, default=None)
    return [c for c in (named or longest,) if c is not None]


def _with_context(table: Table) -> Guess | None:
    """A text, a question about it and its answer; a span where the text holds the answers."""
    question, answer = table.named(QUESTION, "text"), table.named(ANSWER)
    taken = {c.name for c in (question, answer) if c is not None}
    context = next(
        (c for name in CONTEXT for c in table.texts(*taken) if c.key == name and c.words > 4), None
    )
    if question is None or answer is None or context is None or context.words < question.words:
        return None
    columns = {"input": inputs([context, question]), "output": answer.name}
    share = _inside(table, answer.name, context.name)
    spans = share >= MOSTLY and answer.words < 0.5 * context.words
    why = f"The text in {context.name!r} holds the answer in {share:.0%} of the rows looked at."
    return Guess(
        type="extractive_span" if spans else "question_answering",
        columns={**columns, **_rationale(table, context, question, answer)},
        why={"type": [why], "output": [f"{answer.name!r}: {answer.describe()}."]},
        others=("question_answering, if answers may use other words",) if spans else (),
    )


def _inside(table: Table, answer: str, context: str) -> float:
    """Share of the answered rows whose first answer is a part of the context."""
    found = asked = 0
    for row in table.rows[:_SAMPLE]:
        value = row.get(answer)
        texts = [value] if isinstance(value, str) and not value.startswith(("[", "{")) else None
        said = texts or texts_of(value) or []
        if said and said[0].strip():
            asked += 1
            found += said[0].strip().casefold() in str(row.get(context)).casefold()
    return found / asked if asked else 0.0


def _score(table: Table) -> Guess | None:
    """A text, and a number by the name of a score or with many values."""
    score = table.named(SCORE, "number")
    if score is None or score.distinct < 2:
        return None
    shown = _shown(table, score)
    return _score_guess(score, shown) if shown else None


def _score_guess(score: Column, shown: Sequence[Column]) -> Guess:
    return Guess(
        type="score",
        columns={"input": inputs(shown), "output": score.name},
        why={"type": [f"{score.name!r} holds numbers: {score.describe()}."]},
        others=("classification, if each number is a class of its own: add data.labels",),
    )


def _question_answering(table: Table) -> Guess | None:
    """A question and an answer."""
    question = table.named(QUESTION, "text")
    answer = table.named(ANSWER, "text", "number", "truth", "texts")
    if question is None or answer is None or question.name == answer.name:
        return None
    return Guess(
        type="question_answering",
        columns={
            "input": question.name,
            "output": answer.name,
            **_rationale(table, question, answer),
        },
        why={"type": [f"{question.name!r} asks and {answer.name!r} answers, by their names."]},
    )


def _generation(table: Table) -> Guess | None:
    """A text to start from and a text to write: by the names, else by the order of the columns."""
    wordy = (c for c in table.texts() if c.words >= 1.5 and c.distinct > 1)
    asked = table.named(INPUT, "text") or next(wordy, None)
    if asked is None:
        return None
    named = table.named((*ANSWER, *LABEL), "text", "number", "truth", "texts")
    usable = named is not None and named.name != asked.name and named.distinct > 1
    written = named if usable else None
    by_name = written is not None
    if written is None:
        asking = (*INPUT, *QUESTION, *CONTEXT, "instruction")
        later = [c for c in table.texts(asked.name) if c.filled >= MOSTLY and c.words >= 3]
        later = [c for c in later if c.key not in asking]
        written = later[-1] if later else None
    if written is None:
        return None
    lettered = letters_in_text(table, asked, written)
    how = "by their names" if by_name else "because it is the last column of texts; do look"
    why = f"{asked.name!r} is asked and {written.name!r} is written, {how}."
    return lettered or Guess(
        type="generation",
        columns={
            "input": asked.name,
            "output": written.name,
            **_rationale(table, asked, written),
        },
        why={"type": [why], "output": [f"{written.name!r}: {written.describe()}."]},
    )


_RULES: tuple[Callable[[Table], Guess | None], ...] = (
    instructions,
    multiple_choice,
    _pairs,
    _classification,
    _with_context,
    translation,
    summarisation,
    _score,
    _question_answering,
    rewriting,
    _generation,
)
