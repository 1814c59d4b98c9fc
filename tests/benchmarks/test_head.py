"""The head's benchmark: equal work, ratios, the page, the figure."""

from xml.etree import ElementTree

import pytest

from regimen.errors import RunError


def measured(bench, monkeypatch, **other):
    def run(command, work, settings, environment, **how):
        grown = settings["vocabulary"] * (64 if settings["side"] == "plain" else 16)
        raw = {"imported": 100, "peak": 100 + grown, "peak_was_reset": True, "loss": 9.0}
        raw |= {"norm": 1.0, "threads": 2, "versions": {"torch": "2"}}
        if settings["side"] == "plain":
            raw |= other
        return bench.processes.Run(raw, 0)

    monkeypatch.setattr(bench.head, "run", run)
    return bench.head.bench(bench.head.VOCABULARIES, quick=False)


def test_ratios_are_plain_over_regimen_and_the_page_fits(bench, monkeypatch, tmp_path):
    result = measured(bench, monkeypatch)
    assert len(result["rows"]) == 6 * 2 * 2
    assert set(result["ratios"].values()) == {4.0}
    assert "head_memory_sft_256k" in result["ratios"]
    page = bench.render.page([result])
    assert max(len(line) for line in page.splitlines()) <= 100
    assert "| 262,144    |  512 |    16 |          16 |       4 |             4 |" in page


def test_the_figure_is_a_file_of_its_own(bench, monkeypatch, tmp_path):
    path = bench.head_page.write_figure(measured(bench, monkeypatch), tmp_path)
    text = path.read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "all logits at once" in text
    assert "16 MiB" in text
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize("other", [{"loss": 9.1}, {"norm": 1.1}])
def test_unequal_work_is_an_error(bench, monkeypatch, other):
    with pytest.raises(RunError, match="same work"):
        measured(bench, monkeypatch, **other)


def test_a_peak_that_cannot_be_counted_anew_is_an_error(bench, monkeypatch):
    with pytest.raises(RunError, match="cannot be counted anew"):
        measured(bench, monkeypatch, peak_was_reset=False)


def test_both_sides_compute_the_same_gradient(bench):
    once = bench.head_once
    found = {}
    for key, loss in once.LOSSES.items():
        given = once.tensors(32, 8, 64)
        value = once.step(loss, given, kept=key[0] == "regimen")
        found[key] = (value, float(given[0].grad.norm()), float(given[1].grad.norm()))
    expected = found["plain", "sft"]
    assert all(it == pytest.approx(expected, rel=1e-5) for it in found.values())
