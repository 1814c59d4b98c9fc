"""docs/formatting.md says what the code does: pytest tests/test_docs_formatting.py.

``python tests/helpers/doc_examples.py`` writes its examples anew.
"""

from typing import get_args

import pytest

from helpers.doc_examples import blocks, code, examples, plain, rewritten, table
from regimen.instances.options import MIXED, STYLES
from regimen.settings.build import HeldOutSettings
from regimen.settings.formatting import FormattingSettings
from regimen.settings.yaml12 import parse


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "formatting.md").read_text(encoding="utf-8")


def test_examples_are_what_the_code_writes(page):
    assert rewritten(page) == page


def test_every_block_of_settings_is_an_example(page):
    settings = [block for block in blocks(page, "yaml") if block.startswith("formatting:")]
    assert examples(page) == len(settings) == len(blocks(page, "text")) >= 15


def test_the_ways_of_asking_are_settings(page):
    (block,) = (block for block in blocks(page, "yaml") if block.startswith("build:"))
    held_out = parse(block, "the page").data["build"]["held_out"]
    assert set(HeldOutSettings.model_validate(held_out).asked) >= {"plain", "templates"}


def test_a_stale_example_is_found(page):
    stale = page.replace("→ metal", "→ paper", 1)
    assert stale != page
    assert rewritten(stale) == page


def test_the_table_has_every_setting_with_its_default(page):
    rows = table(page, "Setting")
    fields = FormattingSettings.model_fields
    assert [row[0].strip("`") for row in rows] == list(fields)
    defaults = [plain(field.default) for field in fields.values()]
    assert [row[1].strip("`") for row in rows] == defaults


def test_the_table_has_every_style_of_options(page):
    rows = table(page, "Style")
    assert [row[0].strip("`") for row in rows] == list(STYLES)
    for (_, line, label), style in zip(rows, STYLES.values(), strict=True):
        assert code(line) == [style.line(0, "paper")]
        assert code(label) == list(filter(None, [style.label_at(0)]))
    assert f"`{MIXED}` draws a style" in page


@pytest.mark.parametrize(
    "name", ["encoding", "order", "demonstrations", "option_order", "option_answer", "reference"]
)
def test_every_value_of_a_choice_is_said(page, name):
    values = get_args(FormattingSettings.model_fields[name].annotation)
    assert len(values) >= 2
    assert [value for value in values if f"`{value}`" not in page] == []


def test_every_place_of_a_rationale_is_said(page):
    values = get_args(FormattingSettings.model_fields["chain_of_thought"].annotation)
    assert [value for value in values if f"`{value}`" not in page] == []
