"""How a proposed task is worded: definition, templates, hint at what an answer looks like."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.instances.proposals.roles import Guess, heading
from regimen.records import Template

MOST_SPELT = 20
"""Most labels that a definition spells out."""
_CODES = {"en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian"}
_CODES |= {"pt": "Portuguese", "nl": "Dutch", "ru": "Russian", "zh": "Chinese", "ja": "Japanese"}
_CODES |= {"ar": "Arabic", "hi": "Hindi", "tr": "Turkish", "pl": "Polish", "sv": "Swedish"}
_LIST = "{% for option in answer_choices %}\n- {{ option }}{% endfor %}"
_FROM_OPTIONS = "{{ options | join(' ||| ') }}"
_LETTERS = (
    "{% for option in answer_choices %}\n{{ 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[loop.index0] }}. "
    "{{ option }}{% endfor %}"
)

_ASKED: dict[str, Sequence[tuple[str, str]]] = {
    "question_answering": (
        ("plain", "{{ input }}"),
        ("ask", "Answer this question.\n\n{{ input }}"),
        ("label", "{{ input }}\nAnswer:"),
    ),
    "extractive_span": (
        ("plain", "{{ input }}\n\nAnswer with words of the text."),
        ("find", "Find the answer in the text.\n\n{{ input }}"),
        ("label", "{{ input }}\nAnswer:"),
    ),
    "summarisation": (
        ("after", "{{ input }}\n\nSay in short what this is about."),
        ("before", "Summarise this text.\n\n{{ input }}"),
        ("label", "{{ input }}\n\nSummary:"),
    ),
}
"""Ways to ask that need no words of the table."""


def definition(guess: Guess) -> str:
    """What is asked, in a sentence or two."""
    words = list(dict.fromkeys(guess.labels.values()))
    spelt = f": {_listed(words)}" if 0 < len(words) <= MOST_SPELT else ""
    first, second = (_CODES.get(code, code) for code in guess.direction)
    table = {
        "classification": f"Say which label fits the {_thing(guess)}{spelt}.",
        "multiple_choice": "Answer the question with one of the options.",
        "pair_classification": f"Read the {_things(guess)}. Say which label fits{spelt}.",
        "score": f"Give the {_output(guess)} of the {_thing(guess)} as a number.",
        "question_answering": "Answer the question.",
        "extractive_span": "Answer the question with words of the text.",
        "summarisation": "Say in short what the text is about.",
        "translation": f"Translate from {first} to {second}.",
        "rewriting": f"Rewrite the {_thing(guess)}: write its {_output(guess)}.",
        "generation": f"Write the {_output(guess)} for the {_thing(guess)}.",
    }
    if guess.type == "multiple_choice" and "options" not in guess.columns:
        return "Answer the question with the letter of the right option."
    if guess.type == "question_answering" and len(guess.columns_of("input")) > 1:
        return "Answer the question about the text."
    return table[guess.type]


def output_format(guess: Guess) -> str:
    """A hint at what an answer looks like."""
    if guess.labels:
        words = list(dict.fromkeys(guess.labels.values()))
        return f"One of: {_listed(words)}." if len(words) <= MOST_SPELT else "A label alone."
    if guess.type == "multiple_choice":
        return "An option's text alone." if "options" in guess.columns else "A letter, as (A)."
    return {
        "score": "A number alone.",
        "extractive_span": "Words of the text alone.",
        "summarisation": "A text that is much shorter.",
        "translation": "The translation alone.",
        "rewriting": "The new text alone.",
    }.get(guess.type, "")


def templates(guess: Guess) -> tuple[Template, ...]:
    """Three to five ways to ask, in the words of the task."""
    sources = _sources(guess)
    choices = ""
    if "options" in guess.columns:
        choices = _FROM_OPTIONS
    elif any("answer_choices" in source for _, source in sources):
        choices = " ||| ".join(dict.fromkeys(guess.labels.values()))
    return tuple(
        Template(name=name, input=source, choices=choices if "answer_choices" in source else "")
        for name, source in sources
    )


def _sources(guess: Guess) -> Sequence[tuple[str, str]]:
    thing, output = _thing(guess), _output(guess)
    if guess.type in ("classification", "pair_classification"):
        return _label_sources(guess, thing)
    if guess.type == "multiple_choice":
        return _choice_sources("options" in guess.columns)
    if guess.type in _ASKED:
        return _ASKED[guess.type]
    first, second = (_CODES.get(code, code) for code in guess.direction)
    asked: dict[str, Sequence[tuple[str, str]]] = {
        "score": (
            ("plain", f"{{{{ input }}}}\n\nWhich {output} would you give? Write a number."),
            ("before", f"Give the {output} of this {thing} as a number.\n\n{{{{ input }}}}"),
            ("label", f"{{{{ input }}}}\n{output}:"),
        ),
        "translation": (
            ("before", f"Translate from {first} to {second}: {{{{ input }}}}"),
            ("ask", f"How does one say this in {second}?\n{{{{ input }}}}"),
            ("label", f"{first}: {{{{ input }}}}\n{second}:"),
        ),
        "rewriting": (
            ("before", f"Rewrite this {thing}; write its {output}.\n\n{{{{ input }}}}"),
            ("after", f"{{{{ input }}}}\n\nWrite the {output} of this."),
            ("label", f"{thing}: {{{{ input }}}}\n{output}:"),
        ),
        "generation": (
            ("plain", f"{{{{ input }}}}\n\nWrite the {output}."),
            ("before", f"Write the {output} for this {thing}.\n\n{{{{ input }}}}"),
            ("label", f"{thing}: {{{{ input }}}}\n{output}:"),
        ),
    }
    return asked[guess.type]


def _label_sources(guess: Guess, thing: str) -> Sequence[tuple[str, str]]:
    plain = [
        ("plain", "{{ input }}\n\nWhich label fits?"),
        ("before", f"Label this {thing}.\n\n{{{{ input }}}}"),
        ("label", "{{ input }}\nLabel:"),
    ]
    words = list(dict.fromkeys(guess.labels.values()))
    if len(words) > MOST_SPELT or any(not _is_spelt(word) for word in words):
        return plain
    return [
        *plain[:2],
        ("choose", "{{ input }}\n\nChoose one: {{ answer_choices | join(', ') }}."),
        ("list", f"Which of these fits the {thing}?{_LIST}\n\n{{{{ input }}}}"),
        ("label", "{{ input }}\nLabel:"),
    ]


def _choice_sources(options: bool) -> Sequence[tuple[str, str]]:
    if not options:
        return (
            ("plain", "{{ input }}"),
            ("letter", "{{ input }}\n\nAnswer with the letter of the right option."),
            ("label", "{{ input }}\nAnswer:"),
        )
    return (
        ("list", f"{{{{ input }}}}\n\nOptions:{_LIST}"),
        ("letters", f"{{{{ input }}}}\n{_LETTERS}\n\nWrite out the right option."),
        ("choose", f"Choose the option that answers best.\n\n{{{{ input }}}}{_LIST}"),
        ("inline", "{{ input }}\nIs it {{ answer_choices | join(', or ') }}?"),
    )


def _is_spelt(word: str) -> bool:
    """Whether a label can stand in a Jinja source as it is."""
    return not any(mark in word for mark in ("{", "}", "|||", "#}"))


def _words(name: str) -> str:
    """A column's name as words; neutral where a source could take it for code."""
    words = heading(name.rpartition(".")[2]).casefold()
    return words if words and _is_spelt(words) and len(words) <= 40 else "text"


def _thing(guess: Guess) -> str:
    names = guess.columns_of("input")
    word = _words(names[0]) if len(names) == 1 else "text"
    return {"input": "text", "inputs": "text", "prompt": "text"}.get(word, word)


def _things(guess: Guess) -> str:
    words = [_words(name) for name in guess.columns_of("input")]
    return " and the ".join([", the ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _output(guess: Guess) -> str:
    (name, *_) = guess.columns_of("output")
    word = _words(name)
    return {"output": "answer", "target": "answer"}.get(word, word)


def _listed(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
