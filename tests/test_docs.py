"""The documentation's own form."""

from pathlib import Path


def test_lines_of_the_documentation_fit_a_hundred_columns(repo_root: Path) -> None:
    long = [
        f"{page.name}:{number}"
        for page in sorted((repo_root / "docs").glob("*.md"))
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 100 and not line.startswith("|")
    ]
    assert long == []
