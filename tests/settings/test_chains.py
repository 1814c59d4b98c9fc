"""Files of several runs: pytest tests/settings/test_chains.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from regimen.errors import SettingsError
from regimen.settings.loading import (
    dump_yaml,
    json_schema,
    load_settings,
    resolved,
    settings_from,
)
from regimen.settings.pipeline import PipelineSettings

FILE = """\
run: runs/first
seed: 3
build:
  sources: [{starter: chats}]
tune:
  model: {path: base}
then:
  - align:
      model: {path: $run/tune/final}
      data: $run-2/build
      method: dpo
    report:
  - run: $run/inside
    seed: 4
    align:
      model: {path: $run-2/align/final}
      data: $runs/elsewhere
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "chain.yaml"
    place.write_text(FILE)
    return place


def test_later_runs_know_the_first(file: Path) -> None:
    settings = load_settings(file)
    first, second, third = settings.runs
    assert type(first) is PipelineSettings
    assert [one.run for one in settings.runs] == ["runs/first", "runs/first-2", "runs/first/inside"]
    assert [one.seed for one in settings.runs] == [3, 3, 4]
    assert [one.stages for one in settings.runs] == [
        ("build", "tune"),
        ("align", "report"),
        ("align",),
    ]
    assert second.align is not None
    assert second.align.model is not None
    assert (second.align.model.path, second.align.data) == (
        "runs/first/tune/final",
        "runs/first-2/build",
    )
    assert third.align is not None
    assert third.align.data == "$runs/elsewhere"


def test_an_override_of_the_first_run_moves_all(file: Path) -> None:
    settings = load_settings(file, ["run=else/where/", "then[0].align.beta=0.5"])
    assert [one.run for one in settings.runs] == [
        "else/where/",
        "else/where-2",
        "else/where/inside",
    ]
    align = settings.then[0].align
    assert align is not None
    assert align.model is not None
    assert align.model.path == "else/where/tune/final"
    assert align.beta == 0.5


def test_a_single_run_is_what_it_was(tmp_path: Path) -> None:
    place = tmp_path / "one.yaml"
    place.write_text(FILE.split("then:")[0])
    settings = load_settings(place)
    (only,) = settings.runs
    assert settings.then == ()
    assert only == PipelineSettings.model_validate(only.model_dump())
    assert "then" not in only.model_dump()


def test_resolved_settings_are_read_to_the_same(file: Path, tmp_path: Path) -> None:
    settings = load_settings(file)
    again = tmp_path / "again.yaml"
    again.write_text(dump_yaml(settings))
    assert resolved(load_settings(again)) == resolved(settings)
    assert resolved(settings)["then"][0]["align"]["seed"] == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"run": "a"}, "then[0].run"),
        ({"study": {"kind": "grid"}}, "then[0]"),
        ({"algin": {}}, "unknown key then[0].algin"),
        ({"report": None}, "no stage is listed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({"run": "a", "report": {}, "then": [{"report": {}} | change]})
    assert told in caught.value.render()


def test_the_first_run_may_have_no_stages() -> None:
    settings = settings_from(
        {"run": "a", "then": [{"report": {}}, {"report": {}, "run": "$run/x"}]}
    )
    assert [one.run for one in settings.runs] == ["a-2", "a/x"]


def test_the_schema_knows_later_runs() -> None:
    schema = json_schema()
    assert schema["properties"]["then"]["items"] == {"$ref": "#/$defs/PipelineSettings"}
    assert "then" not in schema["$defs"]["PipelineSettings"]["properties"]
