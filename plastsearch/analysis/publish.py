"""Writes a sweep's report folder: figure, picture, report, tables. Also what MLflow and other programs get of it."""

import csv
import html
import io
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import yaml

from plastsearch.analysis import importance
from plastsearch.analysis.ablations import answers, load_ablations
from plastsearch.analysis.comparing import Comparison
from plastsearch.analysis.document import Block, Points, Text, as_html, as_markdown
from plastsearch.analysis.page import pareto_html
from plastsearch.analysis.picture import pareto_png
from plastsearch.analysis.report import SPACE_FILE, folder_of, front_table, opening, report, savings
from plastsearch.analysis.results import Results, load_results
from plastsearch.analysis.rows import TrialRow
from plastsearch.analysis.verdict import verdict
from plastsearch.analysis.why_page import importance_html
from plastsearch.analysis.why_picture import importance_png
from plastsearch.files import whole_file
from plastsearch.tracking.mlflow_pages import Rendering

PAGE, PICTURE = "pareto.html", "pareto.png"
CAPTION = (
    "Ringed: members of the front in all objectives. Line: what is best in the two objectives shown. "
    "Bars: 95 % intervals. Hover for the configuration; click the legend to hide."
)


def publish(results: Results) -> dict[str, Path]:
    """Write the report folder and return its files by name; each appears whole or not at all."""
    folder = folder_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    blocks = report(results)
    texts = {
        PAGE: pareto_html(results, *_around(results)),
        "report.md": f"![Pareto front]({PICTURE})\n\n".join(_split_title(as_markdown(blocks))),
        "report.html": _page(results.name, as_html(blocks)),
        "trials.csv": trials_csv(results),
        SPACE_FILE: yaml.safe_dump(results.spec, sort_keys=False, allow_unicode=True, width=110),
    }
    # A browser, or MLflow's mirror, may read these at any moment while the sweep goes on: never half a file.
    for name, text in texts.items():
        with whole_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")
    with whole_file(folder / PICTURE) as draft:
        pareto_png(results, draft)
    return {name: folder / name for name in (*texts, PICTURE)} | _importances(results, folder)


def _importances(results: Results, folder: Path) -> dict[str, Path]:
    """What mattered, as far as it was worked out (importance.refresh): table, picture and page."""
    found = importance.load(results)
    if found is None:
        return {}
    page = importance_html(found, results.name, outro=as_html(importance.importance_blocks(found, results)[1:]))
    for name, text in ((importance.TABLE, importance.importance_csv(found)), (importance.PAGE, page)):
        with whole_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")
    with whole_file(folder / importance.PICTURE) as draft:
        importance_png(found, results.name, draft)
    return {name: folder / name for name in (importance.DATA, importance.TABLE, importance.PAGE, importance.PICTURE)}


def render(folder: Path) -> Rendering:
    """Publish, and say what of it MLflow should hold."""
    results = load_results(folder)
    files = publish(results)
    note = as_markdown([Points(tuple(verdict(results))), front_table(results)])
    counts = {state: float(len(results.in_state(state))) for state in ("done", "failed", "halted", "reused")}
    summary = {f"trials_{state}": count for state, count in counts.items()} | {"front_size": float(len(results.front))}
    if results.hypervolume is not None:
        summary["hypervolume"] = results.hypervolume
    named = {PAGE: f"pareto/{PAGE}", PICTURE: f"pareto/{PICTURE}"}
    return Rendering(
        files={named.get(name, f"report/{name}"): path for name, path in files.items()} | answers(folder),
        page=named[PAGE],
        picture=named[PICTURE],
        note=note,
        front=frozenset(row.number for row in results.front),
        summary=summary,
    )


def report_json(results: Results) -> dict[str, object]:
    """The report for programs."""

    def comparison(one: Comparison) -> dict[str, object]:
        return asdict(one) | {"finding": one.finding}

    def row(one: TrialRow) -> dict[str, object]:
        return {
            "trial": one.number, "id": one.record.id, "role": one.record.role, "control": one.record.control,
            "state": one.record.state, "in_front": one.in_front, "allowed": one.allowed, "params": one.record.params,
            "metrics": one.metrics, "reason": one.record.reason, "config": one.record.config,
        }  # fmt: skip

    weighed = importance.load(results)
    return {
        "folder": str(results.folder), "name": results.name, "status": results.status, "seconds": results.seconds,
        "spec_hash": results.spec_hash, "overrides": results.overrides,
        "objectives": [one.model_dump() for one in results.objectives],
        "hypervolume": results.hypervolume, "knee": results.knee.number if results.knee else None,
        "front": [one.number for one in results.front], "verdict": verdict(results),
        "comparisons": [comparison(one) for one in results.comparisons], "savings": savings(results),
        "importance": None if weighed is None else weighed.model_dump(mode="json"),
        "ablations": [one.model_dump(mode="json") for one in load_ablations(results.folder)],
        "trials": [row(one) for one in results.rows],
        "finalists": [
            {"of": one.of, "runs": [row(run) for run in one.rows], "eval_eer_mean": mean(one.values("eval_eer"))
             if one.values("eval_eer") else None}
            for one in results.finalists
        ],
    }  # fmt: skip


def trials_csv(results: Results) -> str:
    """One line for each trial: who it is, its configuration's parameters, all its metrics."""
    rows = [*results.rows, *(row for one in results.finalists for row in one.rows)]
    params = list(dict.fromkeys(name for row in rows for name in row.record.params))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    head = ["trial", "id", "role", "control", "state", "in_front", "seconds", "reason"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*head, *(f"params.{name}" for name in params), *metrics])
    for row in rows:
        record = row.record
        who = [record.number, record.id, record.role, record.control, record.state, row.in_front, record.seconds]
        values = (record.params.get(name) for name in params)
        shown = [" ".join(map(str, value)) if isinstance(value, list) else value for value in values]
        writer.writerow([*who, record.reason, *shown, *(record.metrics.get(name) for name in metrics)])
    return out.getvalue()


def _around(results: Results) -> tuple[str, str]:
    tail: list[Block] = [Text(CAPTION), Points(tuple(verdict(results))), front_table(results)]
    return as_html(opening(results)[1:]), as_html(tail)


# The picture belongs under the title, but blocks know no pictures: a terminal, which shows the same ones, has none.
def _split_title(markdown: str) -> tuple[str, str]:
    head, _, rest = markdown.partition("\n\n")
    return head + "\n\n", rest


def _page(name: str, body: str) -> str:
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:20px auto;padding:0 16px;color:#222}"
        "table{border-collapse:collapse;font-size:14px}"
        "td,th{padding:3px 10px;text-align:right;border-bottom:1px solid #eee}"
        ".text{text-align:left}pre{background:#f6f6f6;padding:8px;overflow:auto}img{max-width:100%}"
    )
    title, _, rest = body.partition("</h1>")
    picture = f'<p><a href="{PAGE}"><img src="{PICTURE}" alt="Pareto front"></a></p>'
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title>'
        f"<style>{style}</style></head><body>{title}</h1>{picture}{rest}</body></html>\n"
    )
