"""Pages and drawings that code makes are what it makes."""

import re
from pathlib import Path

import pytest

from docs.drawings import DRAWINGS, draw
from docs.make_reference import PAGES

DOCS = Path(__file__).parents[2] / "docs"
MOST_BYTES = 60_000  # of a drawing


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_reference_says_what_the_code_says(page: str) -> None:
    """If not: python docs/make_reference.py."""
    assert (DOCS / "reference" / f"{page}.md").read_text("utf-8") == PAGES[page]()


def test_the_reference_has_every_command_and_metric() -> None:
    from plastsearch.cli.main import PANELS
    from plastsearch.spec.constraints import METRICS
    from plastsearch.tracking.events import KINDS

    commands = (DOCS / "reference" / "commands.md").read_text("utf-8")
    for _, names in PANELS.values():
        for name in names:
            assert re.search(rf"^## plastsearch {name}\b", commands, re.MULTILINE), name
    metrics = (DOCS / "reference" / "metrics.md").read_text("utf-8")
    assert [name for name in METRICS if f"| `{name}` |" not in metrics] == []
    events = (DOCS / "reference" / "events.md").read_text("utf-8")
    assert [kind for kind in KINDS if f"\n## {kind}\n" not in events] == []


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_there_small_and_shown(name: str) -> None:
    path = DOCS / "concepts" / f"{name}.svg"
    assert path.stat().st_size <= MOST_BYTES
    assert any(f"({name}.svg)" in page.read_text("utf-8") for page in (DOCS / "concepts").glob("*.md"))


def test_every_concept_has_a_drawing() -> None:
    for page in (DOCS / "concepts").glob("*.md"):
        assert re.search(r"!\[[^]]+\]\((\w+)\.svg\)", page.read_text("utf-8")), page


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_what_its_code_draws(name: str, tmp_path: Path) -> None:
    """If not: python docs/drawings.py. Places of text depend on fonts, so what is compared are its words."""
    draw(name, tmp_path / "again.svg")
    words = re.compile(r"<text[^>]*>([^<]*)</text>")
    kept = (DOCS / "concepts" / f"{name}.svg").read_text("utf-8")
    assert words.findall((tmp_path / "again.svg").read_text("utf-8")) == words.findall(kept)
    assert words.findall(kept)
