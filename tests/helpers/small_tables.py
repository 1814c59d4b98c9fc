"""Small tables of made-up rows, one for each way in which data sets ask."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]
WORDS = [
    "river",
    "stone",
    "lamp",
    "winter",
    "garden",
    "paper",
    "silver",
    "mountain",
    "window",
    "bread",
]


def sentence(n: int, words: int = 6) -> str:
    return " ".join(WORDS[(n * 7 + k * (n % 3 + 1)) % 10] for k in range(words)) + f" {n}."


def texts(**columns: Any) -> Rows:
    """Twenty rows; a column is a function of the row's number, or a list that repeats."""
    return [
        {k: f(i) if callable(f) else f[i % len(f)] for k, f in columns.items()} for i in range(20)
    ]


def long(n: int) -> str:
    return " ".join(sentence(n + k) for k in range(8))


OPTIONS = [["red", "blue"], ["fast", "slow", "late"]]
TABLES: dict[str, tuple[Rows, str, dict[str, Any]]] = {
    "words as labels": (
        texts(review=sentence, sentiment=["good", "bad"]),
        "classification",
        {"input": "review", "output": "sentiment"},
    ),
    "numbers as labels": (
        texts(id=str, text=sentence, label=[0, 1, 2]),
        "classification",
        {"input": "text", "output": "label"},
    ),
    "a flag": (
        texts(message=sentence, is_spam=["0", "1"]),
        "classification",
        {"input": "message", "output": "is_spam"},
    ),
    "yes and no about a text": (
        texts(passage=long, question=sentence, answer=[True, False]),
        "classification",
        {"input": (("Passage", "passage"), ("Question", "question")), "output": "answer"},
    ),
    "a list of options and a place": (
        texts(question=sentence, choices=OPTIONS, answer=[1, 0]),
        "multiple_choice",
        {"input": "question", "options": "choices", "output": "answer"},
    ),
    "columns of options and a letter": (
        texts(question=sentence, A=sentence, B=long, C=["none"], answer=["A", "C"]),
        "multiple_choice",
        {
            "input": "question",
            "options": (("A", "A"), ("B", "B"), ("C", "C")),
            "output": "answer",
        },
    ),
    "structs of options and a key": (
        texts(
            id=str,
            question=sentence,
            choices=[{"text": ["up", "down"], "label": ["A", "B"]}],
            answerKey=["B", "A"],
        ),
        "multiple_choice",
        {"input": "question", "options": "choices", "output": "answerKey"},
    ),
    "letters of options in the text": (
        texts(input=lambda n: sentence(n) + "\nOptions:\n(A) x\n(B) y", target=["(A)", "(B)"]),
        "multiple_choice",
        {"input": "input", "output": "target"},
    ),
    "two texts and a label": (
        texts(premise=sentence, hypothesis=long, label=["neutral", "contradiction"]),
        "pair_classification",
        {"input": (("Premise", "premise"), ("Hypothesis", "hypothesis")), "output": "label"},
    ),
    "two texts and a number": (
        texts(sentence1=sentence, sentence2=long, score=lambda n: n * 0.37 % 5),
        "score",
        {"input": (("Sentence 1", "sentence1"), ("Sentence 2", "sentence2")), "output": "score"},
    ),
    "a text and a number": (
        texts(text=sentence, rating=lambda n: n * 0.5),
        "score",
        {"input": "text", "output": "rating"},
    ),
    "answers that the text holds": (
        texts(context=long, question=sentence, answers=lambda n: {"text": [sentence(n)]}),
        "extractive_span",
        {"input": (("Context", "context"), ("Question", "question")), "output": "answers"},
    ),
    "answers of their own about a text": (
        texts(story=long, question=sentence, answer=lambda n: f"it was {n} times seen"),
        "question_answering",
        {"input": (("Story", "story"), ("Question", "question")), "output": "answer"},
    ),
    "questions and answers with steps": (
        texts(question=sentence, answer=lambda n: f"about {n} things", rationale=long),
        "question_answering",
        {"input": "question", "output": "answer", "rationale": "rationale"},
    ),
    "a summary": (
        texts(document=long, summary=lambda n: sentence(n, 3)),
        "summarisation",
        {"input": "document", "output": "summary"},
    ),
    "two languages": (
        texts(en=sentence, es=lambda n: f"la frase número {n}"),
        "translation",
        {"input": "en", "output": "es"},
    ),
    "two languages in one column": (
        texts(translation=lambda n: {"de": f"Satz {n} hier", "en": sentence(n)}),
        "translation",
        {"input": "translation.de", "output": "translation.en"},
    ),
    "another wording": (
        texts(informal=sentence, formal=lambda n: "Kindly: " + sentence(n)),
        "rewriting",
        {"input": "informal", "output": "formal"},
    ),
    "a text to write": (
        texts(prompt_id=str, input=sentence, output=long),
        "generation",
        {"input": "input", "output": "output"},
    ),
    "names that say nothing": (
        texts(a=sentence, b=long),
        "generation",
        {"input": "a", "output": "b"},
    ),
}
