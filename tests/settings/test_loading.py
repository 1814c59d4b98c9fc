"""Settings files: everything that is wrong at once, in plain words, with the line and a fix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from regimen.errors import SettingsError
from regimen.settings.adapters import UnknownAdapter
from regimen.settings.compress import UnknownQuantizer
from regimen.settings.feedback import UnknownFeedback
from regimen.settings.loading import (
    differing,
    dump_yaml,
    json_schema,
    load_settings,
    resolved,
    settings_from,
)
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.problems import SettingsProblems
from regimen.settings.tune import TuneSettings
from regimen.settings.words import field_at, sections_of

FULL: dict[str, Any] = {
    "run": "runs/demo",
    "seed": 3,
    "build": {
        "sources": [
            {"starter": "tasks", "name": "grammar"},
            {"path": "a.jsonl", "columns": {"prompt": "q"}, "format": "alpaca", "limit": 5},
            {"function": {"file": "mine.py", "function": "rows", "arguments": {"n": 3}}},
        ],
        "formatting": {"encoding": "mixed", "templates": 2, "positive": 1, "explanations": True},
        "held_out": {"families": ["dates"], "languages": ["no"], "share": 0.1},
        "synthetic": {"generator": {"scripted": "starter"}},
        "preferences": {"starter_safety": 10},
    },
    "tune": {
        "model": {"path": "base"},
        "adapter": {"kind": "lora", "target_modules": ["q_proj"]},
        "quantise": "nf4",
        "max_steps": 10,
    },
    "align": {"beta": 0.2},
    "evaluate": {"retention": {"path": "held.txt"}, "safety": {}},
    "report": {"title": "Demo"},
}
LIBRARY = re.compile(
    r"pydantic|input should|extra inputs|field required|value error|yaml\.|errors\.|"
    r"validation error|type=|(int|string|float|bool|tuple)_type|constrained|literal\[|tuple\[",
    re.IGNORECASE,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "regimen.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message_of(path: Path | None, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


def paths_below(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    entries: Any = ()
    if isinstance(data, dict):
        entries = data.items()
    elif isinstance(data, list):
        entries = enumerate(data)
    for key, value in entries:
        found += paths_below(value, (*path, key))
    return found


def with_value(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(data, dict):
        return {**data, path[0]: with_value(data.get(path[0]), path[1:], value)}
    return [with_value(e, path[1:], value) if i == path[0] else e for i, e in enumerate(data)]


def test_a_file_is_read_and_its_lists_cannot_change(tmp_path: Path) -> None:
    path = write(tmp_path, dump_yaml(settings_from(FULL)))
    settings = load_settings(path)
    assert settings.stages == ("build", "tune", "align", "evaluate", "report")
    assert settings.build is not None
    assert settings.build.held_out.languages == ("no",)
    with pytest.raises(ValidationError):
        settings.seed = 4  # type: ignore[misc]


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    first = settings_from(FULL)
    second = load_settings(write(tmp_path, dump_yaml(first)))
    assert resolved(second) == resolved(first)
    assert dump_yaml(second) == dump_yaml(first)


def test_resolved_settings_hold_every_seed() -> None:
    data = resolved(settings_from({**FULL, "align": {"seed": 9}}))
    assert [data[stage]["seed"] for stage in ("build", "tune", "align", "evaluate")] == [3, 3, 9, 3]


def test_only_what_differs_from_the_defaults() -> None:
    settings = settings_from({"seed": 0, "tune": {"model": {"path": "m"}, "data": "d"}})
    assert differing(settings) == {
        "tune": {"model": {"path": "m"}, "data": "d", "num_train_epochs": 1.0}
    }


def test_one_epoch_unless_another_limit_is_set() -> None:
    tune = {"model": {"path": "m"}, "data": "d"}
    default = settings_from({"tune": tune}).tune
    limited = settings_from({"tune": {**tune, "max_steps": 5}}).tune
    assert default is not None
    assert limited is not None
    assert (default.num_train_epochs, default.max_steps) == (1.0, None)
    assert (limited.num_train_epochs, limited.max_steps) == (None, 5)


def test_a_whole_number_is_a_number() -> None:
    tune = settings_from({"tune": {"model": {"path": "m"}, "data": "d", "max_time": 60}}).tune
    assert tune is not None
    assert tune.max_time == 60.0


def test_all_problems_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """
sed: 1
build:
  sources:
    - pth: x.jsonl
      limit: "5"
  formatting: {positive: true}
tune:
  model: {path: m}
  learning_rate: 1e9
  schedule: cosin
""".lstrip()
    path = write(tmp_path, text)
    with pytest.raises(SettingsProblems) as caught:
        load_settings(path, ["tune.learning_rat=1e-4"])
    found = [(problem.slug, problem.where.partition("\n")[0]) for problem in caught.value.problems]
    assert found == [
        ("settings-unknown-key", f"{path}:1:1"),
        ("settings-unknown-key", f"{path}:4:7"),
        ("settings-type", f"{path}:5:14"),
        ("settings-type", f"{path}:6:26"),
        ("settings-range", f"{path}:9:18"),
        ("settings-choice", f"{path}:10:13"),
        ("settings-unknown-key", "override 'tune.learning_rat=1e-4'"),
    ]
    message = str(caught.value)
    assert "unknown key build.sources[0].pth" in message
    assert "Did you mean 'path'?" in message
    assert "Did you mean 'cosine'?" in message
    assert "Did you mean 'learning_rate'?" in message
    assert "4 |     - pth: x.jsonl\n         |       ^^^" in message
    assert "Write 5 without quotes" in message
    assert "a number above 0 and at most 10" in message
    assert message.endswith(f"7 problems in {path} [settings-problems]")
    assert not LIBRARY.search(message)


def test_a_key_of_another_section_is_pointed_to(tmp_path: Path) -> None:
    message = message_of(write(tmp_path, "learning_rate: 1\nreport: {}\n"))
    assert "There is tune.learning_rate, align.learning_rate." in message


def test_a_section_with_nothing_after_it_has_its_defaults(tmp_path: Path) -> None:
    text = "tune: {model: {path: m}, data: d}\nevaluate:\n  safety:\nreport:\nalign: null\n"
    settings = load_settings(write(tmp_path, text))
    assert settings.stages == ("tune", "evaluate", "report")
    assert settings.evaluate is not None
    assert settings.evaluate.safety is not None
    assert settings.evaluate.retention is None


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n", "---\n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    message = message_of(write(tmp_path, text))
    assert "is empty [settings-empty]" in message


@pytest.mark.parametrize("text", ["- 1", "just text", "5"])
def test_a_file_that_is_no_section(tmp_path: Path, text: str) -> None:
    message = message_of(write(tmp_path, text))
    assert "wrong kind" in message
    assert not LIBRARY.search(message)


def test_no_stage_is_nothing_to_do(tmp_path: Path) -> None:
    assert "nothing to do" in message_of(write(tmp_path, "run: runs/x\n"))


def test_a_missing_file_names_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "report: {}")
    assert "Did you mean regimen.yaml?" in message_of(Path("regiment.yaml"))
    assert "Settings files here: regimen.yaml." in message_of(Path("zzzzzz"))
    assert "is a directory" in message_of(tmp_path)
    (tmp_path / "regimen.yaml").unlink()
    assert "no settings file nearby" in message_of(Path("a.yaml"))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"run: \xff\xfe")
    assert "byte 0xff at position 5" in message_of(path)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, "report: {}")
    monkeypatch.setattr(Path, "read_text", refuse)
    message = message_of(path)
    assert "cannot be read" in message
    assert "Permission denied" in message


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("report: {title: x}", encoding="utf-8-sig")
    assert load_settings(path).report is not None


def test_problems_of_reading_and_of_validation_come_together(tmp_path: Path) -> None:
    message = message_of(write(tmp_path, "run: a\nrun: b\nreport: {titel: x}\n"))
    assert "run is set twice" in message
    assert "Did you mean 'title'?" in message


TUNE = {"model": {"path": "m"}, "data": "d"}
CONFLICTS = [
    ({"tune": {**TUNE, "quantise": "nf4"}}, "tune.quantise: needs an adapter"),
    ({"tune": {**TUNE, "quantise": "nf5"}}, "tune.quantise is not one of the known values"),
    (
        {"tune": {**TUNE, "adapter": {}, "quantise": {"kind": "int8", "double_quant": False}}},
        "tune.quantise.double_quant: is for nf4 and fp4",
    ),
    (
        {"tune": {**TUNE, "adapter": {"kind": "lokr"}, "quantise": "fp4"}},
        "tune.adapter.kind: reads the shape of the weight",
    ),
    ({"tune": {**TUNE, "max_length": 9000}}, "tune.max_length: (9000) does not fit"),
    ({"tune": {**TUNE, "num_train_epochs": None}}, "nothing ends the training"),
    ({"tune": {**TUNE, "text": {"path": "t"}}}, "tune.text: is for language modelling"),
    ({"tune": {**TUNE, "objective": "language_modelling"}}, "no text to learn"),
    ({"tune": {**TUNE, "model": {"path": "m", "bare_words": True}}}, "tune.model.bare_words: is"),
    (
        {
            "tune": {
                **TUNE,
                "objective": "language_modelling",
                "text": {"path": "t"},
                "replay": {"text": {"path": "t"}},
            }
        },
        "tune.replay: mixes plain text",
    ),
    ({"tune": {**TUNE, "model": {}}}, "tune.model: has none of 'path', 'config'"),
    ({"tune": {**TUNE, "model": {"config": {}}}}, "does not name an architecture"),
    (
        {"tune": {**TUNE, "model": {"config": {"model_type": "llama"}, "tokenizer": "t"}}}
        | {"tune.adapter": {}},
        "tune.adapter: on a fresh model",
    ),
    (
        {"tune": {**TUNE, "schedule": "wsd", "warmup_ratio": 0.6, "decay_ratio": 0.6}},
        "make 1.2 of the run",
    ),
    ({"tune": {"model": {"path": "m"}}}, "tune: has no data to learn from"),
    ({"tune": [TUNE, {"max_steps": 3}]}, "tune[1]: has no data to learn from"),
    ({"tune": []}, "tune is empty"),
    ({"study": {"tasks": {"counts": [4]}}}, "study.tasks.counts has too few entries"),
    ({"study": {"tasks": {"counts": []}}}, "study.tasks.counts is empty"),
    ({"study": {"tasks": {"counts": [4]}}}, "expected: a list of at least 2, each entry a whole"),
    ({"tune": {**TUNE, "model": {"previous": True}}}, "tune.model.previous: names the result"),
    ({"tune": [{**TUNE, "model": {"previous": True}}]}, "tune[0].model.previous: names the result"),
    ({"align": {"model": {"previous": True}, "data": "d"}}, "align.model.previous: names the"),
    (
        {"tune": {**TUNE, "model": {"config": {"model_type": "llama"}, "tokenizer": "t"}}}
        | {"evaluate": {}},
        "evaluate: has no base to compare with",
    ),
    ({"align": {}}, "align: has no model to start from"),
    ({"align": {"model": {"path": "m"}}}, "align: has no preferences"),
    ({"align": {"model": {"config": {"model_type": "x"}, "tokenizer": "t"}}}, "a fresh model"),
    ({"evaluate": {}}, "evaluate: has no model to measure"),
    ({"tune": TUNE, "evaluate": {"systems": ["base", "base"]}}, "names a system twice"),
    ({"tune": TUNE, "evaluate": {"validation_items": 0}}, "is 0, and the prompted base"),
    ({"tune": TUNE, "evaluate": {"retention": {}}}, "has none of 'path', 'function'"),
    ({"build": {"sources": [{}]}}, "sources[0]: has none of 'path', 'dataset'"),
    ({"build": {"sources": [{"path": "a", "starter": "tasks"}]}}, "exclude each other"),
    ({"build": {"sources": [{"starter": "tasks", "format": "alpaca"}]}}, "has no effect"),
    ({"build": {"sources": [{"starter": "tasks", "columns": {"a": "b"}}]}}, "have no effect"),
    ({"build.formatting": {"explanations": True}}, "needs demonstrations"),
    (
        {"build.formatting": {"encoding": "natural_instructions", "order": "input_first"}},
        "is not for the encoding",
    ),
    ({"build.curation": {"min_characters": 9, "max_characters": 8}}, "is above max_characters"),
    ({"build.preferences": {}}, "asks for no pairs"),
    ({"build.synthetic": {"generator": {}}}, "has none of 'scripted', 'endpoint', 'model'"),
    ({"build.synthetic": {"generator": {"endpoint": "http://x"}}}, "needs the name of a model"),
    ({"build.synthetic": {"generator": {"model": "m", "api_key_env": "K"}}}, "for an endpoint"),
]


@pytest.mark.parametrize(("data", "says"), CONFLICTS, ids=[says for _, says in CONFLICTS])
def test_fields_that_disagree(data: dict[str, Any], says: str) -> None:
    nested: dict[str, Any] = {}
    for name, value in data.items():
        stage, _, section = name.partition(".")
        if section:
            start = nested.get(stage, {"sources": [{"starter": "tasks"}]})
            nested[stage] = {**start, section: value}
        else:
            nested[stage] = value
    with pytest.raises(SettingsError) as caught:
        settings_from(nested)
    assert says in str(caught.value)
    assert not LIBRARY.search(str(caught.value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        0,
        3,
        1e300,
        float("nan"),
        float("inf"),
        "",
        "zzz",
        [],
        [1, None],
        {},
        {"a": 1},
    ],
    ids=repr,
)
def test_no_value_anywhere_brings_out_library_text(value: Any) -> None:
    for path in paths_below(FULL):
        try:
            settings_from(with_value(FULL, path, value))
        except SettingsError as error:
            message = str(error)
            assert not LIBRARY.search(message), path
            assert re.search(r"\[settings-[a-z-]+\]", message), path


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from([*PipelineSettings.model_fields, "x"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    ),
    st.sampled_from(paths_below(FULL)),
)
def test_any_data_is_settings_or_a_settings_error(value: Any, path: tuple[Any, ...]) -> None:
    try:
        settings_from(with_value(FULL, path, value))
    except SettingsError as error:
        found = str(error)
        for part in str(value).split():  # what the user wrote may be shown
            found = found.replace(part, "")
        assert not LIBRARY.search(found)


def all_sections(
    model: type[BaseModel], path: tuple[str | int, ...] = ()
) -> list[tuple[tuple[str | int, ...], type[BaseModel]]]:
    found = [(path, model)]
    for name in model.model_fields:
        inside = "x" if get_origin(model.model_fields[name].annotation) is dict else 0
        for below in ((name,), (name, inside)):
            for section in sections_of(field_at(model, below)):
                found += all_sections(section, (*path, *below))
    return found


SECTIONS = [
    (path, model)
    for path, model in all_sections(PipelineSettings)
    if model not in (UnknownAdapter, UnknownFeedback, UnknownQuantizer)
]


FEEDBACK = {"critic": "constitutional", "sampled": "rlaif", "judge": "rlaif"}
"""Which kind of feedback has a section of this name; the others are of ``best_of_n``."""


def test_every_section_is_swept() -> None:
    names = {model.__name__ for _, model in SECTIONS}
    assert {"SourceSettings", "GeneratorSettings", "LoraSettings", "SafetySettings"} <= names
    assert len(names) >= 18


def test_every_field_is_documented_and_every_number_bounded() -> None:
    fields = [
        (model, name, info) for _, model in SECTIONS for name, info in model.model_fields.items()
    ]
    for model, name, info in fields:
        assert info.description, f"{model.__name__}.{name} has no docstring"
        for annotation, metadata in field_at(model, (name,)):
            if annotation in (int, float):
                kinds = {type(entry).__name__ for entry in metadata}
                assert kinds & {"Ge", "Gt"}, f"{model.__name__}.{name} has no lower bound"
                assert kinds & {"Le", "Lt"}, f"{model.__name__}.{name} has no upper bound"


def with_wrong_key(path: tuple[str | int, ...], model: type[BaseModel], wrong: str) -> Any:
    """Settings whose section at a place has a key that no section knows."""
    data: Any = {wrong: 1}
    if "kind" in model.model_fields:  # of several sections, this one
        data["kind"] = get_args(model.model_fields["kind"].annotation)[0]
    for at, part in reversed(list(enumerate(path))):
        data = [data] if part == 0 else {part: data}
        if path[:at] == ("build", "feedback") and path[at + 1 :]:
            data[0]["kind"] = FEEDBACK.get(str(path[at + 1]), "best_of_n")
        if part == "activations" and path[0] == "compress":
            data["kind"] = "rtn"
    return data


def test_a_misspelt_key_is_recognised_in_every_section() -> None:
    for path, model in SECTIONS:
        name = max(model.model_fields, key=len)
        with pytest.raises(SettingsError) as caught:
            settings_from(with_wrong_key(path, model, name[:-1]))
        assert f"Did you mean {name!r}?" in str(caught.value), path


def test_the_schema_describes_the_fields() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    tune = schema["$defs"]["TuneSettings"]
    assert tune["required"] == ["model"]
    assert all("description" in field for field in tune["properties"].values())
    assert "pydantic" not in str(schema).lower()


def test_the_schema_asks_later_tunings_of_a_list_for_no_model() -> None:
    schema = json_schema()
    one, several = schema["properties"]["tune"]["anyOf"][0]["oneOf"]
    first, later = several["prefixItems"][0], several["items"]
    assert first == one
    required, free = (schema["$defs"][it["$ref"].rsplit("/", 1)[1]] for it in (first, later))
    assert required["required"] == ["model"]
    assert "required" not in free
    assert free["properties"] == required["properties"]


def test_the_example_of_the_readme_is_valid(tmp_path: Path, repo_root: Path) -> None:
    readme = (repo_root / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert examples
    for text in examples:
        assert load_settings(write(tmp_path, text)).stages


TUNINGS = """
run: runs/two
seed: 7
tune:
  - model: {path: base, dtype: bfloat16}
    objective: language_modelling
    text: {path: t.txt}
  - model: {save_dtype: bfloat16}
    data: d
    seed: 9
  - {data: d, learning_rate: 2e-5}
"""


def test_a_list_of_tunings_goes_on_from_one_to_the_next(tmp_path: Path) -> None:
    path = write(tmp_path, TUNINGS)
    settings = load_settings(path, ["tune[2].learning_rate=1e-3"])
    assert settings.stages == ("tune",)
    assert list(settings.tunings) == ["tune-0", "tune-1", "tune-2"]
    first, second, third = settings.tunings.values()
    assert [one.model.previous for one in (first, second, third)] == [False, True, True]
    assert (first.model.path, second.model.path) == ("base", None)
    assert second.model.save_dtype == "bfloat16"
    assert third.learning_rate == 1e-3
    assert [settings.seed_of(stage) for stage in settings.tunings] == [7, 9, 7]
    assert settings.section("tune-1") is second
    assert [section["seed"] for section in resolved(settings)["tune"]] == [7, 9, 7]
    again = load_settings(write(tmp_path, dump_yaml(settings)))
    assert dump_yaml(again) == dump_yaml(settings)


def test_one_tuning_is_no_list() -> None:
    settings = settings_from({"tune": {"model": {"path": "m"}, "data": "d"}})
    assert list(settings.tunings) == ["tune"]
    assert settings_from({"build": {"sources": [{"starter": "tasks"}]}}).tunings == {}


def test_every_problem_of_a_list_has_its_place(tmp_path: Path) -> None:
    text = """
tune:
  - {data: d}
  - {data: d, learning_rat: 1, model: {path: m, config: {model_type: llama}, tokenizer: t}}
  - {data: d, schedule: cosin}
"""
    path = write(tmp_path, text)
    with pytest.raises(SettingsProblems) as caught:
        load_settings(path, ["tune[3].model={previous: true, path: p}"])
    whats = [problem.what for problem in caught.value.problems]
    assert whats == [
        "tune[0].model is missing",
        "unknown key tune[1].learning_rat",
        "tune[1].model.config: has 'path' and 'config', which exclude each other",
        "tune[2].schedule is not one of the known values",
        "tune[3].model.previous: says to go on from the training before, and another model is "
        "named as well",
    ]
    assert [problem.where.split(":")[1] for problem in caught.value.problems[:4]] == list("3445")
    assert not LIBRARY.search(str(caught.value))
    message = message_of(path, "tune.learning_rate=1")
    assert "Use tune[0] to tune[3]" in message


def test_the_parts_of_the_tiny_base_can_be_one_file(repo_root: Path) -> None:
    files = sorted((repo_root / "recipes").glob("tiny-base*.yaml"), key=lambda file: file.stem)
    parts = [load_settings(file) for file in files]
    assert len(parts) > 1
    sections = [differing(part)["tune"] | {"seed": part.seed} for part in parts]
    for before, section in zip(parts[:-1], sections[1:], strict=True):
        assert section["model"].pop("path") == f"{before.run}/tune/final"
    one = settings_from({"run": "runs/tiny-base", "tune": sections})
    for (stage, found), part in zip(one.tunings.items(), parts, strict=True):
        assert isinstance(part.tune, TuneSettings)
        apart = {"model": None, "seed": None}
        assert found.model_copy(update=apart) == part.tune.model_copy(update=apart)
        assert one.seed_of(stage) == part.seed
        assert found.model.previous == (stage != "tune-0")


def test_every_recipe_is_valid(repo_root: Path) -> None:
    recipes = sorted((repo_root / "recipes").glob("*.yaml"))
    assert recipes
    for path in recipes:
        assert load_settings(path).stages


def test_paths_are_taken_as_texts(tmp_path: Path) -> None:
    settings = settings_from({"run": tmp_path, "report": {}})
    assert settings.run == str(tmp_path)
