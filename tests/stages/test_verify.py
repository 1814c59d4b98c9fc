"""The verb ``verify``: rows as the stages get them, the table, the JSON line, the exit code."""

import json

import pytest
import yaml

from regimen.cli import main
from regimen.layout import COLUMNS, width_of
from regimen.models.forward import LanguageModel
from regimen.records import Instance, Lineage, Message, Preference
from regimen.settings.loading import load_settings
from regimen.stages import subjects
from regimen.stages.subjects import align_subject, tune_subject
from regimen.tables import instances_to_table, preferences_to_table, write_table
from regimen.verifying.contracts import NAMES
from regimen.verifying.rows import paths

WORDS = ("cat", "dog", "cats and dogs", "the cat sees a dog", "dogs see the cats")


def turn(role, content):
    return Message(role=role, content=content)


@pytest.fixture
def project(text_project):
    """Instances and preferences beside the base and the text."""
    folder = text_project.folder
    made = [
        Instance(
            messages=(turn("user", f"the dog sees {a}"), turn("assistant", f"{b} see")),
            lineage=Lineage(source="test", row=row),
            weight=0.5 if row % 2 else 1.0,
        )
        for row, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS)
    ]
    write_table(folder / "data/instances.parquet", instances_to_table(made))
    pairs = [
        Preference(
            prompt=(turn("user", f"who sees {word}"),),
            chosen=(turn("assistant", f"{word} and the dog"),),
            rejected=(turn("assistant", "a cat"),),
            lineage=Lineage(source="test", row=row),
        )
        for row, word in enumerate(WORDS)
    ]
    write_table(folder / "data/preferences.parquet", preferences_to_table(pairs))
    return text_project


def settings(project, **sections):
    common = {"max_steps": 3, "max_length": 64, "tokens_per_batch": 128, "data": "data"}
    told = {
        "run": "runs/v",
        "tune": {**common, "model": {"path": "base"}},
        "align": {**common, "beta": 0.2},
    }
    for name, changes in sections.items():
        told[name] = None if changes is None else {**told[name], **changes}
    file = project.folder / "v.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in told.items() if v is not None}))
    return file.name


def verify(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *arguments])
    out = capsys.readouterr()
    return stopped.value.code, out.out.splitlines(), out.err


def test_text_holds_and_the_last_line_says_so(text_project, capsys):
    code, lines, _ = verify(capsys, text_project.settings("v", optimizer="muon"), "--json")
    assert code == 0
    result = json.loads(lines[-1])
    assert [one["contract"] for one in result["contracts"]] == list(NAMES)
    assert (result["holds"], result["broken"]) == (len(NAMES) - 2, 0)
    assert (result["not_applicable"], result["not_run"]) == (2, 0)
    assert all(width_of(line) <= COLUMNS for line in lines[:-1])
    for name in NAMES:
        assert sum(line.startswith(f"{name}  ") for line in lines) == 1
    assert any("merged = adapter: not applicable: the settings have no adapter" in x for x in lines)
    assert not (text_project.folder / "runs").exists()


@pytest.mark.slow
def test_adapters_and_preferences_hold(project, capsys):
    adapter = {"kind": "lora", "r": 4, "dropout": 0.1}
    more = {"neftune_noise_alpha": 5.0, "gradient_checkpointing": True, "label_smoothing": 0.1}
    replay = {"text": {"path": "text.txt"}, "share": 0.2, "weight": 0.3}
    file = settings(project, tune={"adapter": adapter, "replay": replay, **more}, align={})
    code, lines, error = verify(capsys, file, "--json")
    result = json.loads(lines[-1])
    assert (code, result["broken"], result["not_run"]) == (0, 0, 0), error
    verdicts = {(one["section"], one["contract"]): one["verdict"] for one in result["contracts"]}
    assert (
        verdicts["tune", "merged = adapter"] == verdicts["align", "reference = policy"] == "holds"
    )
    assert any("what tune starts from" in line for line in lines)


ADAPTERS = [
    {"kind": "lora", "init": "pissa", "r": 2},
    {"kind": "adalora", "r": 2, "initial_r": 4},
    {"kind": "prompt", "num_virtual_tokens": 3},
    {"kind": "lisa", "layers": 1, "interval": 1},
    *(
        pytest.param(adapter, marks=pytest.mark.slow)
        for adapter in (
            {"kind": "lora", "use_dora": True, "use_rslora": True},
            {"kind": "vera", "r": 8},
            {"kind": "loha"},
            {"kind": "lokr"},
            {"kind": "oft", "block_size": 4},
            {"kind": "boft"},
            {"kind": "ia3"},
            {"kind": "p_tuning", "num_virtual_tokens": 3},
            {"kind": "prefix", "num_virtual_tokens": 3},
            {"kind": "bottleneck", "inner": 4},
            {"kind": "layernorm"},
            {"kind": "freeze", "layers": 1},
            {"kind": "tokens", "tokens": ["a"]},
        )
    ),
]


@pytest.mark.matrix
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter["kind"])
def test_every_kind_of_adapter_holds(text_project, adapter, capsys):
    code, lines, error = verify(capsys, text_project.settings("v", adapter=adapter), "--json")
    assert code == 0, error
    result = json.loads(lines[-1])
    assert (result["broken"], result["not_run"]) == (0, 0)
    merged = next(one for one in result["contracts"] if one["contract"] == "merged = adapter")
    whole = adapter["kind"] in ("prompt", "p_tuning", "prefix", "bottleneck", "lisa", "freeze")
    assert merged["verdict"] == ("not applicable" if whole else "holds")


def test_a_broken_contract_is_named_and_ends_with_an_error(text_project, capsys, monkeypatch):
    honest = LanguageModel.hidden

    def hidden(self, batch, read_N=None):
        out = honest(self, batch, read_N)
        # the probe has three segments
        return out * 1.01 if len(batch.plan.lengths) > 3 else out

    monkeypatch.setattr(LanguageModel, "hidden", hidden)
    code, lines, error = verify(capsys, text_project.settings("v"), "--json")
    assert code == 1
    result = json.loads(lines[-1])
    (packed,) = (one for one in result["contracts"] if one["contract"] == "packed = unpacked")
    assert packed["verdict"] == "broken"
    assert packed["measurements"][0]["difference"] > packed["measurements"][0]["tolerance"]
    assert "contract-broken" in error
    assert "tune: packed = unpacked" in error


def test_rows_are_those_that_training_reads(project):
    told = load_settings(project.folder / settings(project, tune={"mask": "all"}))
    subject = tune_subject(told, "tune")
    tokenizer = subject.open().tokenizer
    texts = [tokenizer.decode(row.ids) for row in subject.rows]
    assert all("assistant" in text and "see" in text for text in texts)
    # the mask and the instances' weights have come along
    assert {weight for row in subject.rows for weight in row.weights} == {0.0, 0.5, 1.0}
    # all but the first token and the line break after the last turn
    assert all(all(row.weights[1:-2]) for row in subject.rows)
    assert any(len(paths(group)) > 1 for group in subject.shared)
    aligned = align_subject(told)
    assert aligned.twin.objective.losses[0][1].beta == 0.2
    assert len(aligned.rows) == len(aligned.reference_A) // 2 == len(WORDS)


def test_what_is_not_there_yet_is_told(project, capsys):
    file = settings(project, align={"data": "nowhere"})
    code, lines, _ = verify(capsys, file, "--json")
    result = json.loads(lines[-1])
    assert (code, result["not_run"]) == (0, len(NAMES))
    assert any("align: no contract was checked, because there are no pref" in x for x in lines)
    code, _, error = verify(
        capsys, settings(project, tune=None, align={"model": {"path": "base"}, "data": "nowhere"})
    )
    assert code == 1
    assert "nothing-to-verify" in error
    assert "regimen build" in error


def test_books_are_not_read_to_their_end(text_project, monkeypatch):
    told = load_settings(text_project.folder / text_project.settings("v"))
    monkeypatch.setattr(subjects, "CHARACTERS", 60)
    subject = tune_subject(told, "tune")
    tokenizer = subject.open().tokenizer
    text = "".join(tokenizer.decode(row.ids, skip_special_tokens=True) for row in subject.rows)
    assert 0 < len(text) <= 60


@pytest.mark.slow
def test_each_of_several_tunings_is_checked_from_where_it_starts(project, capsys):
    file = project.folder / settings(project, align=None)
    told = yaml.safe_load(file.read_text())
    lora = {"kind": "lora", "r": 4}
    first = told["tune"] | {"adapter": lora}
    second = {key: value for key, value in told["tune"].items() if key != "model"}
    told["tune"] = [first, second | {"adapter": lora}]
    file.write_text(yaml.safe_dump(told))
    code, lines, _ = verify(capsys, file.name, "--json")
    assert code == 0
    assert any("tune-1: no contract was checked, because the tuning before" in x for x in lines)
    with pytest.raises(SystemExit) as stopped:
        main(["tune", file.name])
    assert stopped.value.code == 0, capsys.readouterr().err
    code, lines, error = verify(capsys, file.name, "--json")
    result = json.loads(lines[-1])
    assert (code, result["broken"], result["not_run"]) == (0, 0, 0), error
    assert {one["section"] for one in result["contracts"]} == {"tune-0", "tune-1"}


METHODS = [
    {"method": "quark", "quantiles": 2},
    {"method": [{"name": "ipo"}, {"name": "sft", "weight": 0.2}]},
    {"method": "dpo", "replay": {"share": 0.2, "weight": 0.7, "data": "data"}},
    *(
        pytest.param(method, marks=pytest.mark.slow)
        for method in (
            *({"method": name} for name in ("kto", "orpo", "rrhf", "bco", "unlikelihood")),
            {"method": "chain_of_hindsight", "good": "well", "max_length": 120},
        )
    ),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda it: str(it["method"])[:12])
def test_every_method_of_align_is_verified(project, capsys, method):
    file = settings(project, tune=None, align={"beta": None, "model": {"path": "base"}, **method})
    code, lines, error = verify(capsys, file, "--json")
    assert code == 0, error
    result = json.loads(lines[-1])
    assert (code, result["broken"], result["not_run"]) == (0, 0, 0), error
    verdicts = {one["contract"]: one["verdict"] for one in result["contracts"]}
    compared = isinstance(method["method"], list) or method["method"] in ("dpo", "kto", "bco")
    assert verdicts["reference = policy"] == ("holds" if compared else "not applicable")
