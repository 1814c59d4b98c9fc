"""The hand-written starter material: pytest tests/assets/starter/test_chats.py"""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files

from regimen.assets.starter.conversations import CHAT_FILES, chats, constitution, seeds
from regimen.assets.starter.safety import grammar, is_refusal
from regimen.records import Instance

CHATS = chats()
KEYS = {"id", "topic", "language", "category", "messages", "licence"}
SEED_KEYS = {
    "id",
    "instruction",
    "input",
    "output",
    "is_classification",
    "category",
    "licence",
}


def raw_chats() -> list[dict[str, object]]:
    folder = files("regimen.assets.starter") / "chats"
    return [
        json.loads(line)
        for name in CHAT_FILES
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def user_turns(chat: Instance) -> list[str]:
    return [m.text for m in chat.messages if m.role == "user"]


def family(name: str) -> list[Instance]:
    return [chat for chat in CHATS if chat.lineage.family == name]


def word_count(text: str) -> int:
    return len(re.findall(r"\w[\w'-]*", text))


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def test_every_file_is_read() -> None:
    folder = files("regimen.assets.starter") / "chats"
    on_disk = {path.name for path in folder.iterdir() if path.name.endswith(".jsonl")}
    assert on_disk == {f"{name}.jsonl" for name in CHAT_FILES}


def test_schema() -> None:
    for entry in raw_chats():
        assert set(entry) == KEYS
        assert entry["language"] in {"en", "fr", "es"}
        assert entry["licence"] == "Apache-2.0"
        assert entry["topic"]
        assert entry["category"]


def test_ids_are_unique_and_name_the_file_and_line() -> None:
    ids = [str(entry["id"]) for entry in raw_chats()]
    assert len(set(ids)) == len(ids)
    per_file = Counter(name.rsplit("-", 1)[0] for name in ids)
    expected = [f"{name}-{i:03d}" for name in CHAT_FILES for i in range(1, per_file[name] + 1)]
    assert ids == expected


def test_counts_of_everyday_chats() -> None:
    everyday = family("chat")
    languages = Counter(chat.lineage.language for chat in everyday)
    assert len(everyday) >= 150
    assert sum(len(user_turns(chat)) >= 2 for chat in everyday) >= 60
    assert languages["fr"] >= 20
    assert languages["es"] >= 20
    assert sum(chat.messages[0].role == "system" for chat in everyday) >= 10


def test_everyday_chats_cover_the_kinds_of_talk() -> None:
    counts = Counter(chat.lineage.category for chat in family("chat"))
    wanted = "greeting advice explanation story how_to feelings plan correction unknown"
    wanted += " follow_up disagreement calculation list summary system"
    assert all(counts[category] >= 8 for category in wanted.split()), counts


def test_counts_of_safety_chats() -> None:
    topics = {e["topic"] for e in raw_chats() if str(e["id"]).startswith("harmful-")}
    assert len(family("harmful")) >= 30
    assert len(family("harmless")) >= 25
    assert len(topics) >= 8
    assert {"self_harm", "child_safety", "malware", "privacy"} <= topics


def test_roles_alternate_and_turns_are_short() -> None:
    for chat in CHATS:
        roles = [m.role for m in chat.messages]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles == ["user", "assistant"] * (len(roles) // 2), chat.lineage.task
        assert roles, chat.lineage.task
        for message in chat.messages:
            assert message.text == message.text.strip()
            # A system message may ask for one word; every other turn says something.
            least = 1 if chat.lineage.category == "system" else 3
            assert least <= word_count(message.text) <= 40, message.text


def test_no_prompt_and_no_answer_occurs_twice() -> None:
    first = [plain(user_turns(chat)[0]) for chat in CHATS]
    assert len(set(first)) == len(first)
    last = [plain(chat.messages[-1].text) for chat in CHATS if chat.lineage.category != "system"]
    assert len(set(last)) == len(last)


def test_refusals_open_as_documented_and_harmless_answers_never_refuse() -> None:
    for chat in family("harmful"):
        assert is_refusal(chat.messages[-1].text), chat.messages[-1].text
    refusing = re.compile(r"\b(can't|cannot|won't) help with|ne peux pas t'aider|puedo ayudarte a")
    for chat in family("harmless") + family("chat"):
        for message in chat.messages:
            if message.role == "assistant":
                assert not is_refusal(message.text)
                assert not refusing.search(message.text)


def test_chats_do_not_contain_the_actions_of_the_safety_evaluation() -> None:
    turns = " | ".join(plain(turn) for chat in CHATS for turn in user_turns(chat))
    evaluated = [a for a in grammar().actions if a.split == "evaluation"]
    leaked = [a.phrase for a in evaluated if f" {plain(a.phrase)} " in f"{turns} "]
    assert leaked == []


def test_lineage_and_identities() -> None:
    assert [chat.lineage.row for chat in CHATS] == list(range(1, len(CHATS) + 1))
    assert {chat.lineage.source for chat in CHATS} == {"starter-chats"}
    assert {chat.lineage.licence for chat in CHATS} == {"Apache-2.0"}
    assert len({chat.content_id for chat in CHATS}) == len(CHATS)
    assert [chat.instance_id for chat in chats()] == [chat.instance_id for chat in CHATS]


def test_seeds() -> None:
    pool = seeds()
    assert len(pool) >= 40
    assert all(set(seed) == SEED_KEYS for seed in pool)
    assert len({seed["id"] for seed in pool}) == len(pool)
    assert len({plain(f"{seed['instruction']} {seed['input']}") for seed in pool}) == len(pool)
    assert len({seed["instruction"].split()[0] for seed in pool}) >= 30
    assert all(seed["output"] and seed["licence"] == "Apache-2.0" for seed in pool)
    classification = sum(seed["is_classification"] is True for seed in pool)
    assert 5 <= classification < len(pool) // 2
    assert all(type(seed["is_classification"]) is bool for seed in pool)


def test_constitution_is_short_numbered_and_complete() -> None:
    principles = constitution()
    text = (files("regimen.assets.starter") / "constitution.md").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(principles) + 1))
    assert 12 <= len(principles) <= 16
    for principle in principles:
        assert 1 <= len(re.findall(r"[.!?](?:\s|$)", principle)) <= 2
        assert word_count(principle) <= 40
