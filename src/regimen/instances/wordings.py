"""The few phrases that the engine itself writes into prompts and answers, by language.

A language without an entry is written in English; ``wording`` says so by what it returns. Add a
language by adding a line to the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Phrases of one language. ``one_of`` and ``therefore`` end where a list or an answer follows.

    ``label_of`` and ``both_of`` ask for an option's label, and for label and option; ``invert``
    asks for an input to an output; ``steps`` and ``explain`` ask for a rationale before and after
    the answer.
    """

    language: str
    options: str
    one_of: str
    label_of: str
    both_of: str
    steps: str
    explain: str
    therefore: str
    because: str
    invert: str


WORDINGS: Mapping[str, Wording] = {
    one.language: one
    for one in (
        Wording(
            language="en",
            options="Options:",
            one_of="Answer with one of:",
            label_of="Answer with the label of an option.",
            both_of="Answer with an option and its label.",
            steps="Think step by step, then answer.",
            explain="Answer, then explain.",
            therefore="The answer is",
            because="Explanation:",
            invert="The other way round: write an input that the following output answers.",
        ),
        Wording(
            language="es",
            options="Opciones:",
            one_of="Responde con una de estas:",
            label_of="Responde con la etiqueta de una opción.",
            both_of="Responde con una opción y su etiqueta.",
            steps="Piensa paso a paso y luego responde.",
            explain="Responde y luego explica.",
            therefore="La respuesta es",
            because="Explicación:",
            invert="Al revés: escribe una entrada a la que responda la siguiente salida.",
        ),
        Wording(
            language="fr",
            options="Options :",
            one_of="Réponds par l'une de ces réponses :",
            label_of="Réponds par l'étiquette d'une option.",
            both_of="Réponds par une option et son étiquette.",
            steps="Réfléchis étape par étape, puis réponds.",
            explain="Réponds, puis explique.",
            therefore="La réponse est",
            because="Explication :",
            invert="À l'inverse : écris une entrée à laquelle répond la sortie suivante.",
        ),
        Wording(
            language="de",
            options="Möglichkeiten:",
            one_of="Antworte mit einer von diesen:",
            label_of="Antworte mit der Kennung einer Möglichkeit.",
            both_of="Antworte mit einer Möglichkeit und ihrer Kennung.",
            steps="Denke Schritt für Schritt nach und antworte dann.",
            explain="Antworte und erkläre dann.",
            therefore="Die Antwort ist",
            because="Erklärung:",
            invert="Umgekehrt: Schreibe eine Eingabe, auf die die folgende Ausgabe antwortet.",
        ),
        Wording(
            language="zh",
            options="选项：",
            one_of="请用以下之一回答：",
            label_of="请用选项的标号回答。",
            both_of="请用选项及其标号回答。",
            steps="请一步一步思考，然后回答。",
            explain="请回答，然后解释。",
            therefore="答案是",
            because="解释：",
            invert="反过来：写出一个输入，使下面的输出是它的答案。",
        ),
    )
}


def wording(language: str) -> Wording:
    """The phrases of a language, by its code (``es``, ``es-MX``); those of English without one."""
    return WORDINGS.get(language.split("-")[0].lower(), WORDINGS["en"])
