"""``regimen show`` for tasks: rows in every encoding, coverage, lints."""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from helpers.colour_task import COLOURS, DEFINITION, colours, run, shown, write
from regimen.instances.lints.rows import entropy
from regimen.stages import show_tables
from regimen.stages.show_coverage import answer_balance, spread
from regimen.stages.show_encodings import MOST_TEMPLATES
from regimen.tables import read_table, table_to_instances
from regimen.tokens.bpe import train_tokenizer


@pytest.fixture
def show(capsys):
    return partial(shown, capsys)


# -- encodings ------------------------------------------------------------------------------------


def test_a_row_is_shown_in_every_encoding_that_its_task_has(tmp_path, show):
    lines, result = show(write(tmp_path / "t.yaml", colours()), "--row", 4)
    (shown,) = result["shown"]
    assert shown["row"] == 4
    found = shown["encodings"]
    assert list(found) == [
        "definition",
        "definition + 2 positive",
        "definition + 2 positive + 1 negative, explained",
        "natural_instructions",
        "template plain",
        "template fr (fr)",
        "template broken",
        "template turned (inverted)",
        "inverted",
        "options shuffled, answered by label",
        "rationale before the answer",
        "rationale after the answer",
        "instruction in es",
        "instruction in zh",
    ]
    thing = "thing number 4 is green"
    assert found["definition"]["prompt"].startswith(f"{DEFINITION}\n{thing}\nOptions:\n- ")
    assert found["definition"]["answer"] == "green"
    assert found["definition + 2 positive"]["prompt"].count("Input: ") == 3
    explained = found["definition + 2 positive + 1 negative, explained"]["prompt"]
    assert "Not like this. Input: a red cup" in explained
    assert explained.count("Explanation: ") == 3
    assert found["natural_instructions"]["prompt"].startswith(f"Definition: {DEFINITION}\n\n Posit")
    assert found["template fr (fr)"]["prompt"] == f"De quelle couleur ? {thing}"
    assert found["template turned (inverted)"]["answer"] == thing
    assert found["inverted"]["answer"] == thing
    assert found["rationale before the answer"]["answer"].startswith("Row 4 says so.\n")
    assert found["rationale after the answer"]["answer"].endswith("Row 4 says so.")
    assert found["instruction in zh"]["prompt"].startswith("说出这个东西的颜色。\n")
    assert found["template broken"]["error"] == "template_missing_column"
    text = "\n".join(lines)
    assert "template_missing_column: no column 'shade'" in text
    assert "row 4 of 30" in text


def test_the_label_that_is_learned_stands_before_the_right_option(tmp_path, show):
    _, result = show(write(tmp_path / "t.yaml", colours()), "-n", 30)
    assert [one["row"] for one in result["shown"]] == list(range(30))
    places = set()
    for one in result["shown"]:
        found = one["encodings"]["options shuffled, answered by label"]
        right = COLOURS[one["row"] % 3]
        assert f"{found['answer']} {right}" in found["prompt"].splitlines()
        places.add(found["answer"])
    assert places == {"(A)", "(B)", "(C)"}


def test_a_settings_file_comes_first_and_shows_what_a_build_makes(tmp_path, show, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("t.yaml"), colours(60))
    build = {
        "sources": [{"path": "t.yaml"}],
        "instances_per_task": 60,
        "seed": 7,
        "formatting": {
            "encoding": "mixed",
            "template_share": 0.5,
            "positive": [0, 2],
            "demonstrations": "both",
            "option_labels": "mixed",
        },
    }
    settings = write(Path("regimen.yaml"), {"run": "run", "build": build})
    lines, result = show(settings, "-n", 60)
    assert result["seed"] == 7
    assert run("build", settings) == 0
    built = table_to_instances(read_table(Path("run/build/instances.parquet")))
    made = {one.lineage.row: [m.text for m in one.messages] for one in built}
    assert len(made) > 40
    for one in result["shown"]:
        name, mine = next(iter(one["encodings"].items()))
        assert name == "your settings"
        if one["row"] in made:
            assert [mine["prompt"], mine["answer"]] == made[one["row"]]
        else:
            assert mine["error"]
    assert any(line.startswith("your settings") for line in lines)


def test_many_templates_and_languages_are_counted_beyond_the_first(tmp_path, show):
    templates = [{"name": f"t{n}", "input": f"{n}: {{{{ input }}}}"} for n in range(20)]
    definitions = {code: f"({code})" for code in ("es", "fr", "de", "it", "pt", "nl", "sv", "da")}
    file = write(tmp_path / "t.yaml", colours(templates=templates, definitions=definitions))
    lines, result = show(file)
    assert result["shown"][0]["left_out"] == {"templates": 20 - MOST_TEMPLATES, "languages": 2}
    assert f"… and {20 - MOST_TEMPLATES} more templates" in lines
    assert len(result["coverage"]["encodings"]) == 21


# -- coverage -------------------------------------------------------------------------------------


def test_every_row_is_rendered_or_failed_in_each_encoding(tmp_path, show):
    rows = [{"input": f"{n} {'x' * n}", "output": "odd" if n % 4 == 1 else "even"}
            for n in range(40)]  # fmt: skip
    rows += [{"input": "no such option", "output": "neither"}]
    task = colours(instances=rows, options=["odd", "even"])
    _, result = show(write(tmp_path / "t.yaml", task))
    report = {one["name"]: one for one in result["coverage"]["encodings"]}
    for one in report.values():
        lost = sum(said["count"] for said in one["failed"].values())
        assert one["rows"] == 41 == one["instances"] + lost
    assert report["definition"]["failed"]["answer_not_in_options"]["row"] == 40
    assert report["template broken"]["instances"] == 0
    plain = report["template plain"]
    assert plain["instances"] == 41
    assert plain["prompt"]["longest"] == len("Which colour? 39 ") + 39
    assert plain["distinct_prompts"] == 1.0
    assert report["template turned (inverted)"]["distinct_prompts"] == pytest.approx(3 / 41)
    (place,) = result["coverage"]["positions"]["tasks"]["definition"].values()
    assert sum(place["counts"]) == 40


def test_labels_have_counts_bars_and_an_entropy(tmp_path, show):
    rows = [{"input": f"n {n}", "output": "Yes" if n % 4 else "No"} for n in range(40)]
    task = {"name": "t", "definition": "Answer.", "instances": rows}
    lines, result = show(write(tmp_path / "t.yaml", task))
    answers = result["coverage"]["answers"]
    assert answers["labels"] == {"Yes": 30, "No": 10}
    assert answers["entropy"] == pytest.approx(0.8113, abs=1e-4)
    (yes,) = (line for line in lines if line.startswith("Yes ") and "%" in line)
    (no,) = (line for line in lines if line.startswith("No ") and "%" in line)
    assert yes.count("█") == 30
    assert no.count("█") == 10
    assert "75.0%" in yes


def test_answers_that_are_no_labels_are_counted_with_their_lengths():
    report = answer_balance([f"a{'b' * n}" for n in range(100)])
    assert report == {
        "answers": 100,
        "different": 100,
        "characters": {"median": 50, "p95": 95, "longest": 100},
    }
    assert "labels" not in report
    assert spread([]) == {}
    counts = answer_balance(["x"] * 3 + ["X", "y"] * 3)
    assert counts["labels"] == {"x": 6, "y": 3}
    assert counts["entropy"] == entropy(Counter(x=6, y=3))


def test_lints_say_their_row(tmp_path, show):
    rows = colours(12)["instances"]
    rows[7] = rows[7] | {"output": "thing"}
    lines, result = show(write(tmp_path / "t.yaml", colours(instances=rows)))
    found = {one["lint"]: one for one in result["lints"]}
    assert found["answer_outside_options"]["rows"] == [7]
    assert any(line.startswith("error") and "answer_outside_options" in line for line in lines)


def test_a_limit_says_how_many_rows_were_looked_at(tmp_path, show):
    lines, result = show(write(tmp_path / "t.yaml", colours(50)), "--limit", 20)
    assert result["coverage"]["rows"] == {"all": 50, "looked_at": 20, "held_out": 0}
    assert any(line.startswith("rows: 50, 20 looked at") for line in lines)
    assert {one["rows"] for one in result["coverage"]["encodings"]} == {20}


@pytest.mark.parametrize(
    ("share", "bar"), [(1.0, "█" * 30), (0.5, "█" * 15), (0.001, "▏"), (0, "")]
)
def test_bars(share, bar):
    assert show_tables.bar(share) == bar


def test_tokens_are_counted_with_a_model(tmp_path, show):
    train_tokenizer([DEFINITION] * 20, 300).save_pretrained(tmp_path / "base")
    file = write(tmp_path / "t.yaml", colours())
    lines, result = show(file, "--row", 1, "--model", tmp_path / "base")
    found = result["shown"][0]["encodings"]["definition"]
    assert 0 < found["tokens"]["prompt"] < found["characters"]["prompt"]
    told = f"{found['tokens']['prompt']} + {found['tokens']['answer']} tokens"
    assert any(told in line for line in lines)
