"""pytest tests/benchmarks/test_method_numbers.py"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEED = {
    "rows": [
        {"kind": "full tuning", "memory_mib": {"median": 400.0}},
        {"kind": "lora", "memory_mib": {"median": 300.0}},
    ],
    "ratios": {"lora_vs_full": 1.17},
}
STUDY = {
    "rows": [
        {
            "rows": [
                ["full", 3000, "", 0.3, 0.2, 0.4, 0.1, 0.0, 0.2, 3.0],
                ["full", 100, "", 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 3.0],
                ["lora-nf4", 3000, "", 0.2, 0.1, 0.3, 0.05, 0.0, 0.1, 3.0],
            ]
        }
    ]
}


def test_every_method_that_was_measured_has_a_row(bench):
    text = bench.method_numbers.numbers(SPEED, STUDY)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    found = {row[0]: row[1:] for row in rows if len(row) == 5}
    assert found["Full tuning"] == ["1.00", "400", "30% [20, 40]", "10% [0, 20]"]
    assert found["LoRA on all linear layers"] == ["1.17", "300", "", ""]
    assert found["LoRA of rank 48 on NF4"] == ["", "", "20% [10, 30]", "5% [0, 10]"]
    assert "BOFT" not in found


def test_every_kind_that_is_timed_and_every_method_of_the_study_has_a_row(bench):
    from regimen.settings.adapters_study import METHODS

    rows = bench.method_numbers.ROWS
    assert {kind for _, kind, _ in rows} - {""} == set(bench.adapter_speed.KINDS)
    assert {arm for _, _, arm in rows} - {""} == set(METHODS)


def test_the_page_has_the_numbers_of_the_results(bench, committed):
    module = bench.method_numbers
    made = module.numbers(committed("adapter_speed"), committed("study_adapters"))
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page.partition(module.START)[2].partition(module.END)[0].strip() == made.strip()
