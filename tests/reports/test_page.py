"""pytest tests/reports/test_page.py"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from regimen.errors import RunError
from regimen.reports import write_report
from regimen.reports.absent import missing
from regimen.reports.findings import findings, limits, verdict
from regimen.reports.page import script_json
from regimen.reports.rundata import read_run
from regimen.reports.sections.answers import answers
from regimen.reports.sections.behaviour import safety

VOID = {"meta", "input", "br", "hr"}


class Outline(HTMLParser):
    """Elements of a page with their attributes; checks that they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def page(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(full_run, tmp_path_factory.mktemp("out") / "report.html")
    return path.read_text(encoding="utf-8")


def test_the_whole_report_has_every_section_in_order(page: str) -> None:
    anchors = [a["id"] for a in outline(page).every("section") if a.get("class") == "part"]
    assert anchors == [
        "changed", "systems", "answers", "data", "curves", "safety", "masks", "reproduce",
    ]  # fmt: skip
    assert re.search(r"<h1>Tuned answers \d+% of 480 unseen compositions; its base answers", page)
    assert "What this run cannot tell you" in page
    assert "Missing from this run" not in page


def test_links_and_ids_agree(page: str) -> None:
    found = outline(page)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(a["href"]).removeprefix("#") for a in found.every("a")}
    assert targets <= set(ids)
    described = " ".join(str(a.get("aria-labelledby") or "") for a in found.every("svg"))
    assert described.strip()
    assert set(described.split()) <= set(ids)


def test_text_of_models_and_data_is_escaped(page: str, hostile: str) -> None:
    assert hostile not in page
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 10
    assert len(outline(page).every("script")) == 2


def test_nothing_is_fetched_and_only_the_own_script_runs(page: str) -> None:
    found = outline(page)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    assert all("src" not in attributes for _, attributes in found.elements)
    assert found.every("link") == []
    assert not any(key.startswith("on") for _, attributes in found.elements for key in attributes)
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [str(a["content"]) for a in found.every("meta") if "http-equiv" in a]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_the_evaluation_is_embedded_as_data(page: str, full_run: Path) -> None:
    text = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[0]
    recorded = json.loads((full_run / "evaluation.json").read_text(encoding="utf-8"))
    assert json.loads(text) == recorded


def test_embedded_json_cannot_end_its_element() -> None:
    text = script_json({"a": "</script><script>", "b": float("nan"), "c": [float("inf")]})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><script>", "b": None, "c": [None]}


def test_the_same_run_gives_the_same_page(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run = run_of("tune")
    first = write_report(run, tmp_path / "a.html").read_bytes()
    assert write_report(run, tmp_path / "b.html").read_bytes() == first


def test_only_build_says_what_is_missing(run_of: Callable[..., Path]) -> None:
    run = run_of("build")
    path = write_report(run)
    assert path == run / "report.html"
    page = path.read_text(encoding="utf-8")
    outline(page)
    assert "3,120 training instances built, no model trained." in page
    assert "nothing was evaluated" in page
    names = [name for name, _ in missing(read_run(run))]
    assert names == [
        "tuning curves", "rendered samples with their masks", "alignment", "any evaluation",
    ]  # fmt: skip


def test_build_and_tune_claim_nothing(run_of: Callable[..., Path]) -> None:
    run = read_run(run_of("build", "tune"))
    found = verdict(run)
    assert found.headline == "Trained, not evaluated."
    assert "no evidence" in found.evidence
    assert limits(run) == [
        "Whether the model got better or worse at anything: nothing was evaluated."
    ]


def test_an_evaluation_without_answers_and_safety(run_of: Callable[..., Path]) -> None:
    run = run_of("evaluate")
    (run / "evaluate" / "answers.parquet").unlink()
    (run / "evaluate" / "safety.json").unlink()
    data = read_run(run)
    assert [name for name, _ in missing(data)][-2:] == ["the answers themselves", "safety"]
    moved, behaviour = answers(data), safety(data)
    assert moved is not None
    assert "From base to tuned" in moved.body
    assert "answers-table" not in moved.body
    assert behaviour is not None
    assert "Safety was not measured" in behaviour.body


def test_a_title_names_the_run(run_of: Callable[..., Path]) -> None:
    page = write_report(run_of("build"), title="Ours & <b>").read_text(encoding="utf-8")
    assert "run Ours &amp; &lt;b&gt;" in page


def test_findings_name_the_costs(full_run: Path) -> None:
    texts = [finding.text for finding in findings(read_run(full_run))]
    assert any(text.startswith("Over-refusal of aligned is higher: 11%") for text in texts)
    assert any(
        text == "Tuned needs +0.092 [0.080, 0.100] (+6.1%) more bits per byte of plain text than "
        "its base (worse)."
        for text in texts
    )
    assert any("1 line of tune/metrics.jsonl" in text for text in texts)
    assert any("38 rows failed" in text for text in texts)


def changed_run(full_run: Path, tmp_path: Path, **changes: object) -> Path:
    run = tmp_path / "copy"
    shutil.copytree(full_run, run)
    path = run / "evaluation.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, **changes}), encoding="utf-8")
    return run


def test_a_model_that_did_not_change_is_the_first_finding(full_run: Path, tmp_path: Path) -> None:
    same = {"answers_differing": 0, "answers_compared": 832, "mean_abs_delta_logp": 0.0}
    run = read_run(changed_run(full_run, tmp_path, changed=same))
    first = findings(run)[0]
    assert (first.level, first.anchor) == ("bad", "changed")


def test_a_loss_is_the_first_finding(full_run: Path, tmp_path: Path) -> None:
    worse = {"difference": -0.2, "low": -0.3, "high": -0.1, "verdict": "worse"}
    suites = {"s": {"systems": {"tuned": {"score": 0.1}, "base": {"score": 0.3}},
                    "paired": {"tuned-base": worse}}}  # fmt: skip
    first = findings(read_run(changed_run(full_run, tmp_path, suites=suites)))[0]
    assert first.text == "Tuned is worse: −20 points [−30, −10] against base on s."


def test_names_of_suites_and_systems_are_escaped(
    run_of: Callable[..., Path], tmp_path: Path, hostile: str
) -> None:
    family = {"items": 3, "systems": {"tuned": {"score": 0.5}, "base": {"score": 0.1}}}
    systems = {"tuned": {"score": 0.5}, "base": {"score": 0.1}, hostile: {"score": 0.2}}
    suites = {hostile: {"systems": systems, "by_family": {hostile: family, "b": family}}}
    run = changed_run(run_of("evaluate"), tmp_path, suites=suites, retention={})
    page = write_report(run).read_text(encoding="utf-8")
    outline(page)
    assert "<script>alert" not in page
    assert "<b>" not in page


def test_an_evaluation_without_base_or_seeds(run_of: Callable[..., Path], tmp_path: Path) -> None:
    suites = {"s": {"systems": {"tuned": {"score": 0.1}}}, "empty": {}}
    run = changed_run(run_of("evaluate"), tmp_path, suites=suites, retention={}, changed={})
    page = write_report(run).read_text(encoding="utf-8")
    assert "The base was not asked." in page
    assert any("seed" in text for text in limits(read_run(run)))


@pytest.mark.parametrize("name", ["evaluation.json", "build/instances.parquet"])
def test_a_broken_file_is_named(run_of: Callable[..., Path], name: str) -> None:
    run = run_of("build", "evaluate")
    (run / name).write_text("{ not this", encoding="utf-8")
    with pytest.raises(RunError) as caught:
        write_report(run)
    assert caught.value.slug == "run-file-unreadable"
    assert caught.value.where.endswith(name)


def test_no_run_and_an_empty_run(tmp_path: Path) -> None:
    with pytest.raises(RunError) as absent:
        write_report(tmp_path / "none")
    assert absent.value.slug == "run-missing"
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(RunError) as empty:
        write_report(tmp_path)
    assert (empty.value.slug, empty.value.got) == ("run-empty", "notes.txt")


def test_unfinished_training_is_said(run_of: Callable[..., Path]) -> None:
    run = run_of("tune")
    (run / "tune" / "manifest.json").unlink()
    assert "tune is unfinished" in write_report(run).read_text(encoding="utf-8")


LISTED = """run: runs/demo
tune:
  - model: {path: the-base}
  - {data: d}
align: {data: d}
"""


@pytest.mark.parametrize("settings", [LISTED, None])
def test_several_tunings_are_stages_of_their_own(
    run_of: Callable[..., Path], settings: str | None
) -> None:
    run = run_of("build", "tune", "align")
    shutil.copytree(run / "tune", run / "tune-1")
    (run / "tune-1/metrics.jsonl").write_text(json.dumps({"step": 7, "loss": 0.25}))
    counts = {"in": 9, "kept": 8, "removed": {"longer_than_max_length": 1}, "failed": {}}
    counts |= {"unit": "text", "overflow": {"lost_share": 0.0625}}
    (run / "tune-1/rendering.json").write_text(json.dumps(counts))
    (run / "tune").rename(run / "tune-0")
    (run / "tune-0/samples.json").unlink()
    if settings is None:  # not finished: there are no settings of the whole run yet
        (run / "settings.yaml").unlink()
    else:
        (run / "settings.yaml").write_text(settings)
        shutil.copytree(run / "tune-0", run / "tune-2")  # of an earlier, longer list
    found = read_run(run)
    assert found.stages == ("build", "tune-0", "tune-1", "align")
    assert found.tunings == ("tune-0", "tune-1")
    assert len(found.samples) == 3
    assert found.model == ("the-base" if settings else "")
    assert "tuning curves" not in [name for name, _ in missing(found)]
    assert "Tune 1: 7 steps, loss 0.25 to 0.25." in verdict(found).evidence
    page = write_report(run).read_text(encoding="utf-8")
    outline(page)
    assert "Tune 0: 3,112 of 3,120 conversations rendered" in page
    assert (
        "Tune 1: 8 of 9 texts rendered; not: 1 longer than max length. "
        "6% of the tokens to learn are lost to max_length." in page
    )
