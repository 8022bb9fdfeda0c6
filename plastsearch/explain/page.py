"""Everything on one page that asks nobody for anything: pictures inside, tables, light and dark."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from plastsearch.documents import Heading, Text, as_html
from plastsearch.explain.document import Explanation, clip_blocks, evidence_blocks, neuron_blocks

ALL_NEURONS = 1000
READ = (
    "Purple speaks for bona fide, orange for a spoof; within a method all networks share one colour scale. Below each "
    "map, relevance summed over frequency. How each method works and what it cannot show: docs/explain.md."
)
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1250px;margin:20px auto;padding:0 16px;color:#222}"
    "h1{font-size:21px}h2{font-size:17px;margin-top:28px}"
    "table{border-collapse:collapse;font-size:13.5px;display:block;overflow-x:auto}"
    "td,th{padding:3px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid #8883}.text{text-align:left}"
    ".picture{overflow-x:auto}img{max-width:100%;background:#fff;border-radius:4px}"
    "@media(max-width:700px){img{max-width:none;width:900px}}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#8cf}img{filter:brightness(.9)}}"
)


def explanation_html(found: Explanation, pictures: Mapping[str, Path]) -> str:
    """The page, with the pictures of these names inside."""
    notes = [Text(note) for note in found.notes]
    parts = [as_html([Heading(f"What {found.model} listens to", 1), *notes])]
    parts.append(as_html(evidence_blocks(found)))
    parts.append(_picture(pictures, "evidence.png", "Deletion and splice curves"))
    if found.clips:
        parts.append(as_html([Heading("Clips"), Text(READ)]))
    for one in found.clips:
        parts.append(as_html(clip_blocks(one)).replace("<h2>", "<h3>").replace("</h2>", "</h3>"))
        parts.append(_picture(pictures, found.pictures[one.name], f"Relevance over the spectrogram of {one.name}"))
    if found.neurons is not None:
        parts.append(as_html(neuron_blocks(found.neurons, ALL_NEURONS)))
        parts.append(_picture(pictures, "neurons.png", "Heat map of new neurons by attack"))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(found.model)}: explained'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _picture(pictures: Mapping[str, Path], name: str, words: str) -> str:
    if name not in pictures:
        return ""
    inside = base64.b64encode(pictures[name].read_bytes()).decode()
    return (
        f'<div class="picture"><img alt="{html.escape(words, quote=True)}" src="data:image/png;base64,{inside}"></div>'
    )
