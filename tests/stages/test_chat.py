"""`regimen chat`, through the command line: history, commands, piped input."""

import io
import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from regimen import console
from regimen.cli import main
from regimen.errors import RunError
from regimen.stages.chat import model_folder

ANSWERS = {"the dog sees": "cats and the cat", "the cat sees": "dogs"}


@pytest.fixture(scope="module")
def run(shared_project):
    """A run that has learnt two answers."""
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in ANSWERS.items()
    ]
    (shared_project.folder / "chats.jsonl").write_text("\n".join(map(json.dumps, rows * 8)))
    tune = {
        "model": {"path": "base"},
        "max_steps": 80,
        "learning_rate": 0.01,
        "tokens_per_batch": 256,
        "max_length": 64,
        "precision": "fp32",
    }
    settings = {"run": "runs/c", "build": {"sources": [{"path": "chats.jsonl"}]}, "tune": tune}
    (shared_project.folder / "c.yaml").write_text(yaml.safe_dump(settings))
    assert shared_project.run("c.yaml") == 0
    return shared_project.folder / "runs/c"


def talk(monkeypatch, capsys, lines, *arguments):
    """Lines to standard input; what was printed, and the result."""
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
    with pytest.raises(SystemExit) as stopped:
        main(["chat", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    assert stopped.value.code == 0, shown.err
    *printed, last = shown.out.splitlines()
    return printed[1:], json.loads(last), shown.err


def expected(folder, messages, most):
    """transformers' own answer to the conversation under the template that was saved."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=most)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_answers_are_those_of_the_trained_model_with_its_history(run, monkeypatch, capsys):
    questions = list(ANSWERS)
    printed, result, _ = talk(monkeypatch, capsys, questions, run, "--max-new-tokens", 12)
    assert printed[0] == ANSWERS[questions[0]]
    roles = [message["role"] for message in result["messages"]]
    assert roles == ["user", "assistant"] * 2
    assert result["answers"] == 2
    assert result["model"] == str(run / "tune/final")
    history = result["messages"]
    for place, answer in ((1, history[1]), (3, history[3])):
        assert answer["content"] == expected(run / "tune/final", history[:place], 12)


def test_reset_forgets_the_conversation_and_quit_ends(run, monkeypatch, capsys):
    asked, other = ANSWERS
    lines = [asked, "/reset", "", other, "/help", "/quit", asked]
    printed, result, _ = talk(monkeypatch, capsys, lines, run, "--system", "be", "--temperature", 0)
    assert [message["content"] for message in result["messages"][:2]] == ["be", other]
    assert len(result["messages"]) == 3
    assert result["answers"] == 2
    assert "A new conversation." in printed
    assert any("/quit ends" in line for line in printed)


def test_samples_follow_the_seed(run, monkeypatch, capsys):
    how = ("--temperature", 3, "--max-new-tokens", 20)
    texts = [
        talk(monkeypatch, capsys, ["the dog"], run, *how, "--seed", seed)[0] for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert "[cut at 20 tokens]" in texts[0][-1] or "[cut" in texts[2][-1]


def test_what_does_not_fit_the_context_is_told_and_the_conversation_stays(run, monkeypatch, capsys):
    asked = next(iter(ANSWERS))
    lines = [asked, "the dog sees cats " * 80, "/reset", asked]
    printed, result, problems = talk(monkeypatch, capsys, lines, run)
    assert "no longer fits" in problems
    assert "/reset" in problems
    assert printed[0] == printed[2] == result["messages"][1]["content"]
    assert result["answers"] == 2


def test_a_base_can_be_talked_with_and_a_missing_run_is_an_error(
    shared_project, monkeypatch, capsys
):
    _, result, _ = talk(monkeypatch, capsys, ["the dog"], "base", "--max-new-tokens", 3)
    assert result["model"] == "base"
    with pytest.raises(SystemExit) as stopped:
        main(["chat", "runs/nowhere"])
    assert stopped.value.code == 1
    assert "no such folder" in capsys.readouterr().err


def test_the_last_model_of_a_run_is_found(tmp_path):
    with pytest.raises(RunError, match="no trained model"):
        model_folder(tmp_path)
    for stage in ("tune-0", "tune-9", "tune-10", "align"):
        (tmp_path / stage / "final").mkdir(parents=True)
        (tmp_path / stage / "manifest.json").write_text("{}")
        assert model_folder(tmp_path) == tmp_path / stage / "final"
    assert model_folder(tmp_path / "tune-9") == tmp_path / "tune-9" / "final"
    (tmp_path / "align" / "manifest.json").unlink()  # unfinished
    assert model_folder(tmp_path) == tmp_path / "tune-10" / "final"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_person_sees_a_prompt_and_the_end_of_input_is_no_error(monkeypatch):
    shown = []

    def answer(prompt):
        shown.append(prompt)
        if len(shown) > 1:
            raise EOFError
        return "hello"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", answer)
    assert [console.ask("> "), console.ask("> ")] == ["hello", None]
    assert shown == ["> ", "> "]
