"""Pairs over the words of the small tokenizer, and how long a test learns from them."""

from regimen.records import Lineage, Message, Preference

COMMON = {
    "max_steps": 4,
    "tokens_per_batch": 128,
    "max_length": 64,
    "logging_steps": 1,
    "precision": "fp32",
    "learning_rate": 0.01,
    "schedule": "constant",
    "warmup_ratio": 0.0,
}


def said(text, role="assistant"):
    return (Message(role=role, content=text),)


PAIRS = [
    Preference(
        prompt=said(f"the {a} dog", "user"),
        chosen=said(f"sees {a} cats"),
        rejected=said("the the"),
        lineage=Lineage(source="test", row=row),
    )
    for row, a in enumerate("abcdefxyz")
]
