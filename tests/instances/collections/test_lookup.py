"""Templates of one data set: pytest tests/instances/collections/test_lookup.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regimen.errors import DataError
from regimen.instances.collections.files import FileText
from regimen.instances.collections.lookup import KINDS, collection_templates, kind_of

TAGGED = """dataset: {}
subset: {}
templates:
  aaaa: !Template {{name: first, jinja: 'a ||| b'}}
  bbbb: !Template {{name: second, jinja: '{} ||| b'}}
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Files of both kinds of templates."""
    files = {
        "pets/small.yaml": TAGGED.format("pets", "small", "c"),
        "pets/large.yaml": TAGGED.format("pets", "large", "{{ open"),
        "birds.yaml": TAGGED.format("birds", "null", "c"),
        "lists.yaml": "weather:\n- ['{x}', '{y}']\n- ['{x!r}', 'y']\n",
        "more.json": json.dumps({"size": [["{x}", "{y}"]], "none": [["{0}", "x"]]}),
        "code.py": "P = {'age': [('{x}', '{y}')]}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_templates_are_found_in_every_kind_of_file(mixed: Path) -> None:
    def names(dataset: str, subset: str = "", *wanted: str) -> list[str]:
        found = collection_templates(mixed, dataset=dataset, subset=subset, names=wanted)
        return [template.name for template in found]

    assert names("pets", "small") == ["first", "second"]
    assert names("pets", "small", "second", "first") == ["second", "first"]
    assert names("birds") == ["first", "second"]
    assert names("size") == names("age") == ["pattern_1"]
    assert names("pets", "large", "first") == ["first"]
    assert names("weather", "", "pattern_1") == ["pattern_1"]


@pytest.mark.parametrize(
    ("dataset", "subset", "names", "slug", "says"),
    [
        ("pest", "", [], "unknown-dataset", "Did you mean 'pets'?"),
        ("none", "", [], "unknown-dataset", "{0}"),
        ("pets", "", [], "unknown-subset", "Known: large, small."),
        ("pets", "smal", [], "unknown-subset", "Did you mean 'small'?"),
        ("birds", "small", [], "unknown-subset", "(none)"),
        ("birds", "", ["frist"], "unknown-template", "Did you mean 'first'?"),
        ("pets", "large", ["second"], "unknown-template", "pets/large.yaml:5"),
        ("pets", "large", [], "template-unusable", "pets/large.yaml:5"),
        ("weather", "", [], "template-unusable", "{x!r}"),
    ],
)
def test_what_is_not_there_is_an_error_that_helps(
    mixed: Path, dataset: str, subset: str, names: list[str], slug: str, says: str
) -> None:
    with pytest.raises(DataError) as caught:
        collection_templates(mixed, dataset=dataset, subset=subset, names=names)
    assert caught.value.slug == slug
    assert says in str(caught.value)


def test_equal_names_of_two_files_of_a_data_set_stay_apart(mixed: Path) -> None:
    (mixed / "again.yaml").write_text(TAGGED.format("birds", "''", "c"))
    found = collection_templates(mixed, dataset="birds")
    names = [template.name for template in found]
    assert names == ["first", "second", "first (birds.yaml)", "second (birds.yaml)"]
    assert [collection_templates(mixed, dataset="birds", names=[n])[0].name for n in names] == names


def test_rows_are_no_templates(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(DataError, match="rows-not-templates"):
        collection_templates(tmp_path, dataset="rows")


def test_kinds_are_known_by_content_and_ending() -> None:
    def kind(name: str, text: str) -> str:
        return kind_of(FileText(name, text, name))

    assert kind("a.yaml", "dataset: x\ntemplates: {}\n") == "promptsource"
    assert kind("a.yaml", "x:\n  - [a, b]\n") == "patterns"
    assert (kind("a.py", ""), kind("a.jsonl.gz", "{}")) == ("patterns", "t0")
    assert {kind.holds for kind in KINDS.values()} == {"templates", "rows"}
    with pytest.raises(DataError, match="file-format"):
        kind("a.csv", "")


def test_many_names_are_not_all_listed(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({f"task{n:02}": [["a", "b"]] for n in range(40)}))
    with pytest.raises(DataError, match=r"task11 and 28 more\."):
        collection_templates(tmp_path, dataset="zzzzzzzz")
