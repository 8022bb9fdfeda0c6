"""The report as one HTML file: contents, headings one can link to, pictures inside, long tables folded."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from plastsearch.documents import Block, Figure, Heading, Table, as_html

SHOWN, MOST = 15, 300  # rows before a table is folded; rows at most
INK = "#222223"  # what drawings.py draws text and axes in
STYLE = """
:root { --ink: #222; --paper: #fff; --soft: #8882; --line: #8884; --link: #0b57a4 }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #1b1b1b; --soft: #fff1; --line: #fff3; --link: #8cf }
}
html { color-scheme: light dark; scroll-behavior: smooth }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 20px auto; padding: 0 16px; color: var(--ink);
       background: var(--paper); overflow-wrap: break-word }
a { color: var(--link) } h1 { font-size: 24px } h2 { margin-top: 1.8em; border-bottom: 1px solid var(--line) }
h2 a, h3 a { color: inherit; text-decoration: none } h2 a:hover::after, h3 a:hover::after { content: " #"; opacity: .5 }
nav ol { columns: 2 280px; padding-left: 1.4em; margin: 6px 0 } nav summary { font-weight: 600; cursor: pointer }
.wide { overflow-x: auto; margin: 10px 0 } table { border-collapse: collapse; font-size: 14px }
td, th { padding: 3px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
.text { text-align: left } td.text { white-space: normal; min-width: 8em } pre { background: var(--soft); padding: 8px;
       overflow: auto } code { background: var(--soft); padding: 0 3px } pre code { background: none; padding: 0 }
details > summary { cursor: pointer; margin: 4px 0 } figure { margin: 12px 0; overflow-x: auto }
figure svg, figure img { max-width: 100%; height: auto } figure.photo { background: #fff; border-radius: 6px }
@media (max-width: 600px) { body { font-size: 14px; padding: 0 10px } td, th { padding: 3px 6px }
  td.text { min-width: 5em } figure svg { min-width: 480px } }
@media print { body { max-width: none; margin: 0 } nav { display: none } table { font-size: 9pt }
  td, th { white-space: normal; padding: 1px 5px } h2, h3 { break-after: avoid } tr, figure { break-inside: avoid }
  .wide, figure { overflow: visible } details::details-content { content-visibility: visible; height: auto }
  h2 a:hover::after { content: "" } pre { white-space: pre-wrap } }
"""


def report_page(name: str, blocks: Sequence[Block], folders: Sequence[Path], of: str = "trials.csv") -> str:
    """One file; a picture is taken from the first folder that has it, `of` names the table that holds all rows."""
    anchors = slugs(blocks)
    parts: list[str] = []
    for block, anchor in zip(blocks, anchors, strict=True):
        match block:
            case Heading(text, level) if level > 1:
                parts.append(f'<h{level} id="{anchor}"><a href="#{anchor}">{html.escape(text)}</a></h{level}>')
            case Figure(file, words):
                paths = [folder / file for folder in folders]
                parts.append(drawn(next((path for path in paths if path.is_file()), paths[0]), words))
            case Table():
                parts.append(_table(block, of))
            case _:
                parts.append(as_html([block]))
        if block == blocks[0] and isinstance(block, Heading):
            parts.append(_contents(blocks, anchors))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<style>{STYLE}</style></head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def slugs(blocks: Sequence[Block]) -> list[str]:
    """A name for each heading by which one can link to it, each once; nothing for other blocks."""
    found: list[str] = []
    for block in blocks:
        if not isinstance(block, Heading):
            found.append("")
            continue
        plain = re.sub(r"[^\w]+", "-", block.text.lower()).strip("-") or "part"
        number, name = 2, plain
        while name in found:
            name, number = f"{plain}-{number}", number + 1
        found.append(name)
    return found


def _contents(blocks: Sequence[Block], anchors: Sequence[str]) -> str:
    lines = [
        f'<li><a href="#{anchor}">{html.escape(block.text)}</a></li>'
        for block, anchor in zip(blocks, anchors, strict=True)
        if isinstance(block, Heading) and block.level == 2
    ]
    return f"<nav><details open><summary>Contents</summary><ol>{''.join(lines)}</ol></details></nav>"


def _table(table: Table, of: str) -> str:
    """Short ones as they are; of long ones the first rows, the others at a click, and no more than MOST."""
    rows = table.rows
    if len(rows) <= SHOWN + 5:
        return _wide(table)
    shown, folded = Table(table.columns, rows[:SHOWN], table.left), Table(table.columns, rows[SHOWN:MOST], table.left)
    rest = f"<p>… and {len(rows) - MOST:,} more rows in {html.escape(of)}.</p>" if len(rows) > MOST else ""
    return f"{_wide(shown)}<details><summary>{len(folded.rows):,} more rows</summary>{_wide(folded)}{rest}</details>"


def _wide(table: Table) -> str:
    return f'<div class="wide">{as_html([table])}</div>'


def drawn(path: Path, words: str) -> str:
    """A picture inside the page: SVG in the page's own colours, PNG as data; where there is none, that is said."""
    what = html.escape(words)
    if not path.is_file():
        return f"<p>(No picture {html.escape(path.name)}: {what}.)</p>"
    if path.suffix == ".svg":
        text = path.read_text(encoding="utf-8")
        svg = text[text.index("<svg") :].replace(INK, "currentColor")
        return f'<figure role="img" aria-label="{what}">{svg}</figure>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure class="photo"><img src="data:image/png;base64,{data}" alt="{what}"></figure>'


def with_png(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks with PNG for SVG, which not everybody who shows Markdown shows."""
    return [Figure(one.file.replace(".svg", ".png"), one.words) if isinstance(one, Figure) else one for one in blocks]
