"""The files of joined sweeps: a page, Markdown, LaTeX tables, all runs of all sweeps as one table, the diagram."""

from collections.abc import Sequence
from pathlib import Path

from plastsearch.analysis.columns import Column, Kind, Value, columns
from plastsearch.documents import as_markdown
from plastsearch.files import whole_file
from plastsearch.joining.blocks import PICTURE, configurations_table, joined_blocks, methods_table
from plastsearch.joining.joined import Joined
from plastsearch.report.drawings import draw, ranks_figure
from plastsearch.report.html_page import report_page, with_png
from plastsearch.report.latex import HEAD, latex_table
from plastsearch.report.tables import as_csv, write_parquet

PAGE, MARKDOWN, LATEX, CSV, PARQUET = "joined.html", "joined.md", "joined.tex", "joined.csv", "joined.parquet"


def publish_joined(found: Joined, folder: Path) -> dict[str, Path]:
    """Write them; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path] = {}
    if (order := found.ranks) is not None:
        files = draw(folder, PICTURE, lambda: ranks_figure(order))
    blocks = joined_blocks(found)
    table = all_runs(found)
    names = ", ".join(one.label for one in found.members)
    texts = {
        MARKDOWN: as_markdown(with_png(blocks)), LATEX: _latex(found), CSV: as_csv(table),
        PAGE: report_page(f"Sweeps {names}", blocks, [folder], CSV),
    }  # fmt: skip
    for name, text in texts.items():
        with whole_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")
    write_parquet(table, folder / PARQUET, names)
    return {name: folder / name for name in (*texts, PARQUET)} | files


def _latex(found: Joined) -> str:
    parts = [HEAD]
    for evaluation, where in ((False, "search-dev"), (True, "the evaluation split")):
        table = methods_table(found, evaluation)
        if table is not None:
            caption = (
                f"Methods over {len(found.members)} sweeps on {where}: EER and relative reduction, 95 % intervals."
            )
            parts.append(latex_table(table, caption, f"joined {where}"))
    if found.configurations:
        parts.append(latex_table(configurations_table(found), "Configurations over sweeps.", "joined configurations"))
    return "\n".join(parts)


def all_runs(found: Joined) -> list[Column]:
    """Every run of every sweep, the sweep's name first; columns that a sweep does not have are empty there."""
    tables = [(one.label, columns(one.results), len(one.results.every)) for one in found.members]
    head = Column(
        "sweep", "text", "the sweep, by its name here", tuple(label for label, _, n in tables for _ in range(n))
    )
    names = dict.fromkeys(one.name for _, table, _ in tables for one in table)
    return [head, *(_stacked(name, [(table, count) for _, table, count in tables]) for name in names)]


def _stacked(name: str, tables: Sequence[tuple[list[Column], int]]) -> Column:
    parts = [(next((one for one in table if one.name == name), None), count) for table, count in tables]
    present = [one for one, _ in parts if one is not None]
    kinds = {one.kind for one in present}
    kind: Kind = kinds.pop() if len(kinds) == 1 else "float" if kinds == {"int", "float"} else "text"
    values: list[Value] = []
    for one, count in parts:
        values += (_as(kind, value) for value in one.values) if one is not None else [None] * count
    return Column(name, kind, present[0].words, tuple(values))


def _as(kind: Kind, value: Value) -> Value:
    if value is None or kind in ("int", "bool"):
        return value
    return float(value) if kind == "float" else str(value)
