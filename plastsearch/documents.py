"""A report as plain blocks, and how they read in Markdown and in HTML; every text is escaped."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A section's name; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; `back-quotes` mark code."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of short statements."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to be typed, of a shell unless it says otherwise."""

    text: str
    language: str = "sh"


@dataclass(frozen=True)
class Table:
    """Cells as text; columns named in `left` hold words, the others numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A picture in a file beside the document, and in words what it shows."""

    file: str
    words: str


Block = Heading | Text | Points | Code | Table | Figure


def as_markdown(blocks: Sequence[Block]) -> str:
    """Markdown that reads well as plain text, too."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def as_html(blocks: Sequence[Block]) -> str:
    """The body of an HTML page."""
    return "\n".join(_html(block) for block in blocks)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Text(text):
            return _line(text)
        case Points(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Code(text, language):
            fence = "`" * (max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0)))
            return f"{fence}{language}\n{text}\n{fence}"
        case Figure(file, words):
            return f"![{_plain(words)}]({file})"
        case Table():
            rule = [":--" if name in block.left else "--:" for name in block.columns]
            lines = [block.columns, rule, *block.rows]
            return "\n".join(
                "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
            )


def _plain(text: str) -> str:
    """One line, and no markup from a user's value outside code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if n % 2 else _escaped(part) for n, part in enumerate(parts))


def _escaped(text: str) -> str:
    """Brackets stay, for intervals stand in them; only what would make a link of them is broken."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("](", "]\\(").replace("]:", "]\\:")


def _line(text: str) -> str:
    """The same, and what opens a paragraph opens no heading, list or quotation."""
    return re.sub(r"^(?=[#>+=-]+\s)", r"\\", re.sub(r"^(\d+)(?=[.)]\s)", r"\1\\", _plain(text)))


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Points(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Code(text):
            return f"<pre><code>{html.escape(text)}</code></pre>"
        case Figure(file, words):
            return f'<p><img src="{html.escape(file)}" alt="{html.escape(words)}"></p>'
        case Table():
            return _html_table(block)


def _html_table(table: Table) -> str:
    def cells(tag: str, line: Sequence[str]) -> str:
        kinds = [' class="text"' if name in table.left else "" for name in table.columns]
        return "".join(f"<{tag}{kind}>{_inline(cell)}</{tag}>" for kind, cell in zip(kinds, line, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    return f"<table><thead><tr>{cells('th', table.columns)}</tr></thead><tbody>{body}</tbody></table>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
