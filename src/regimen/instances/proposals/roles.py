"""Which part a column plays: the names that data sets use, and what its values allow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from regimen.instances.data_rows import Answer, Columns, RowRules
from regimen.instances.proposals.tables import Column, Table

TaskType = Literal[
    "classification",
    "multiple_choice",
    "pair_classification",
    "score",
    "question_answering",
    "extractive_span",
    "summarisation",
    "translation",
    "rewriting",
    "generation",
    "instructions",
]

QUESTION = ("question", "question_text", "query", "problem", "stem", "question_stem", "claim")
CONTEXT = (
    *("context", "passage", "paragraph", "story", "story_section", "cor_section", "background"),
    *("support", "fact", "article", "document", "text", "evidence"),
)
ANSWER = (
    *("answer", "answers", "output", "target", "targets", "response", "completion", "reference"),
    *("gold", "std_answer", "expected", "answer_text", "correct_answer", "reply", "solution"),
)
LABEL = (
    *("label", "labels", "gold_label", "final_label", "label_text", "class", "category"),
    *("sentiment", "intent", "topic", "emotion", "stance", "verdict", "preference", "winner"),
)
KEY = ("answer_key", "answer_idx", "answer_index", "correct_option", "cop", "correct", "label")
SCORE = ("score", "rating", "ratings", "stars", "similarity", "similarity_score", "grade", "mark")
RATIONALE = ("rationale", "explanation", "reasoning", "solution", "cot", "steps", "exp", "reason")
SUMMARY = ("summary", "highlights", "abstract", "tldr", "tl_dr", "headline", "title")
DOCUMENT = ("document", "article", "dialogue", "text", "body", "content", "source", "report")
INPUT = (
    *("input", "inputs", "text", "sentence", "prompt", "question", "source", "review", "content"),
    *("tweet", "message", "utterance", "comment", "post", "document", "headline", "title"),
)
PAIRS = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2")),
    *(("text1", "text2"), ("text_1", "text_2"), ("question1", "question2"), ("claim", "evidence")),
    *(("sentence_a", "sentence_b"), ("text_a", "text_b"), ("question", "sentence")),
    *(("response1", "response2"), ("output_1", "output_2"), ("answer_a", "answer_b")),
    *(("prompt", "completion"), ("prompt", "response")),
)
REWRITES = (
    *(("source", "target"), ("src", "tgt"), ("original", "rewrite"), ("original", "rewritten")),
    *(("original", "paraphrase"), ("original", "corrected"), ("original", "simplified")),
    *(("original", "edited"), ("informal", "formal"), ("formal", "informal")),
    *(("incorrect", "correct"), ("complex", "simple"), ("input_text", "target_text")),
    *(("sentence", "paraphrase"), ("sentence", "correction"), ("before", "after")),
    *(("text", "corrected"), ("text", "paraphrase"), ("sentence1", "sentence2")),
)

MOST_LABELS = 200
LONGEST_LABEL = 60
LANGUAGES = frozenset(
    re.findall(
        "..",
        "enfrdeesitptnlruzhjakoarhitrplsvdafinocsrohuelhevithidukfaswbntateurmstlcagleugacyisltlvet"
        "skslhrsrbgmksqhykakkuzmnmykmlo",
    )
)
"""Codes that a column of a translation is named for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What the task of a table seems to be.

    Args:
        type: the kind of task.
        columns: the table's column or columns for each canonical name.
        labels: the word for each value of the output, in order; none where outputs are free.
        answer: how the output says which option is right.
        why: sentences that say why, by ``type`` or a canonical name.
        others: what the table might be instead.
        unnamed: whether the labels have no words yet, which the user is asked for.
        format: for ``instructions``, the format of the rows.
        direction: for ``translation``, the codes of the languages.
    """

    type: TaskType
    columns: Mapping[str, Columns]
    labels: Mapping[str, str] = field(default_factory=dict)
    answer: Answer = "text"
    why: Mapping[str, Sequence[str]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    unnamed: bool = False
    format: str = ""
    direction: tuple[str, str] = ("", "")

    @property
    def rules(self) -> RowRules:
        """How rows are read by this guess."""
        return RowRules(columns=self.columns, labels=self.labels, answer=self.answer)

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The table's columns that make a canonical one."""
        column = self.columns.get(name, ())
        return (column,) if isinstance(column, str) else tuple(theirs for _, theirs in column)


def few_values(column: Column, named: bool = False) -> bool:
    """Whether a column has so few and short values that they are labels.

    Args:
        column: the column.
        named: whether its name says that it holds labels, which allows more different values.
    """
    most = column.total // 2 if named else max(min(10, column.total // 3), column.total // 10)
    most = min(MOST_LABELS, max(2, most))
    if column.kind not in ("text", "number", "truth") or not 2 <= column.distinct <= most:
        return False
    if column.kind == "number" and not (column.integers and (named or column.distinct <= 10)):
        return False
    longest = max(len(value) for value, _ in column.top)
    return column.filled >= 0.8 and column.words <= 5 and longest <= LONGEST_LABEL


def label_column(table: Table) -> Column | None:
    """The column whose name or values say that it holds labels."""
    named = [c for name in LABEL if (c := table.named((name,))) is not None]
    named += [c for c in table.columns if c.key.endswith(("_label", "_class")) or is_flag(c)]
    return next((c for c in named if few_values(c, named=True)), None)


def is_flag(column: Column) -> bool:
    """Whether a column answers a question with yes or no by its name: ``is_spam``."""
    return column.key.startswith(("is_", "has_")) and column.distinct == 2


def label_words(table: Table, column: Column) -> tuple[dict[str, str], bool, list[str]]:
    """The word for each value of a label column, whether they lack names, and what to say.

    Numbers get no meaning that nobody gave them: their word is the number.
    """
    known = table.labels.get(column.name)
    if known:
        words = {str(number): word for number, word in enumerate(known)}
        return words, False, ["The data set itself names its labels."]
    values = [value for value, _ in column.top]
    if is_flag(column) and set(values) <= {"0", "1", "true", "false"}:
        words = {value: "yes" if value in ("1", "true") else "no" for value in sorted(values)}
        return words, False, [f"The name {column.name!r} asks a question: 0 is no and 1 is yes."]
    numbers = all(value.lstrip("-").isdigit() for value in values)
    ordered = sorted(values, key=int) if numbers else sorted(values)
    return {value: value for value in ordered}, numbers, []


def counted(column: Column, most: int = 6) -> str:
    """The most frequent values with their counts: ``good (40), bad (12)``."""
    shown = ", ".join(f"{value[:24]} ({count:,})" for value, count in column.top[:most])
    return shown + (f" and {column.distinct - most:,} more" if column.distinct > most else "")


def pair_of(table: Table, pairs: Sequence[tuple[str, str]]) -> tuple[Column, Column] | None:
    """The first pair of names of which the table has both, as text columns."""
    by_key = {c.key: c for c in table.columns if c.kind == "text" and c.filled >= 0.8}
    return next(((by_key[a], by_key[b]) for a, b in pairs if a in by_key and b in by_key), None)


def heading(column: str) -> str:
    """A column's name as words that stand before its text: ``first_text1`` is ``First text 1``."""
    words = re.sub(r"(?<=[a-z])(?=\d)", " ", column.replace("_", " ").replace(".", " ")).strip()
    return words[:1].upper() + words[1:]


def inputs(columns: Sequence[Column]) -> Columns:
    """One column as the input, or several under their headings."""
    if len(columns) == 1:
        return columns[0].name
    return tuple((heading(column.name), column.name) for column in columns)
