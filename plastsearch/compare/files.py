"""What a comparison leaves on the disk: a page, Markdown, JSON and pictures, each file whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path

from plastsearch.compare.comparison import Comparison
from plastsearch.compare.document import document
from plastsearch.compare.page import comparison_html
from plastsearch.compare.picture import attack_picture, det_pictures, histogram_picture
from plastsearch.documents import Block, as_markdown
from plastsearch.files import plain, told, whole_file


def write(comparison: Comparison, out: Path) -> dict[str, Path]:
    """All files, by name."""
    found = write_pages(out, "compare", comparison.plain(), document(comparison), comparison_html(comparison))
    with told(out):
        with whole_file(out / "det.png") as png, whole_file(out / "det.svg") as svg:
            det_pictures(comparison, png, svg)
        with whole_file(out / "scores.png") as draft:
            histogram_picture(comparison, draft)
        if comparison.attacks:
            with whole_file(out / "attacks.png") as draft:
                attack_picture(comparison, draft)
    names = ["det.png", "det.svg", "scores.png", *(["attacks.png"] if comparison.attacks else [])]
    return found | {name: out / name for name in names}


def write_pages(out: Path, name: str, content: object, blocks: Sequence[Block], page: str) -> dict[str, Path]:
    """The same in three forms: for programs, for notes, for a browser."""
    texts = {
        f"{name}.json": json.dumps(plain(content), indent=2) + "\n",
        f"{name}.md": as_markdown(blocks),
        f"{name}.html": page,
    }
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            with whole_file(out / file) as draft:
                draft.write_text(text, encoding="utf-8")
    return {file: out / file for file in texts}
