"""Puts the page to choose on together: data, HTML, style and scripts become one file that asks for nothing outside."""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from plastsearch.analysis.results import Results
from plastsearch.choose.data import Page, page_data
from plastsearch.tracking.mlflow_links import Links

FILE = "choose.html"
# In the order in which they need each other; together they are one program.
SCRIPTS = (
    "unpack", "numbers", "state", "marks", "scatter", "parallel", "table", "limits", "drawings", "commands", "detail",
    "main",
)  # fmt: skip


def choose_html(results: Results, verdict: Sequence[str], caption: str, space: Path) -> str:
    """The page as one file; `space` is the published space, by which a trial is run again."""
    return html_of(page_data(results, verdict, caption, str(space)))


def html_of(page: Page) -> str:
    """A page's data as HTML."""
    script = '(() => {\n"use strict";\n' + "".join(_part(f"{name}.js") for name in SCRIPTS) + "})();\n"
    # A policy of its own: this one script may run, and nothing can be fetched, whatever a name in the data says.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:"
    parts = {
        "POLICY": policy, "TITLE": html.escape(page.name), "STYLE": _part("style.css"), "DATA": packed(page),
        "SCRIPT": script,
    }  # fmt: skip
    text = _part("page.html")
    for name, part in parts.items():
        before, mark, after = text.partition(f"<!--{name}-->")
        assert mark, f"page.html has no place for {name}"
        text = before + part + after
    return text


def packed(page: Page) -> str:
    """The data, deflated, as text."""
    said = json.dumps(page, default=_fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(said.encode("utf-8", "replace"), 9)).decode()


def _fields(part: object) -> object:
    return part.model_dump(mode="json") if isinstance(part, Links) else vars(part)


def _part(name: str) -> str:
    return files("plastsearch.choose").joinpath("page", name).read_text(encoding="utf-8")
