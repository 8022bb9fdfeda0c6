"""Writes a sweep's report folder: figure, picture, report, tables. Also what MLflow and other programs get of it."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import yaml

from plastsearch.analysis import importance
from plastsearch.analysis.ablations import answers, load_ablations
from plastsearch.analysis.columns import columns
from plastsearch.analysis.comparing import Comparison
from plastsearch.analysis.figure import number
from plastsearch.analysis.results import Results, load_results
from plastsearch.analysis.rows import TrialRow
from plastsearch.choose import page as choose
from plastsearch.documents import Block, Figure, Points, Text, as_html, as_markdown
from plastsearch.files import whole_file
from plastsearch.report.drawings import draw, grid_figure, layers_figure, ranks_figure
from plastsearch.report.foretold import early
from plastsearch.report.front_section import best_under, brackets, front_table, gain_words
from plastsearch.report.html_page import report_page, with_png
from plastsearch.report.latex import HEAD, latex_table
from plastsearch.report.losses import savings
from plastsearch.report.page import pareto_html
from plastsearch.report.paper_section import GRID, LAYERS, RANKS, Gathered, attacks_table, gather
from plastsearch.report.paper_section import table as paper_columns
from plastsearch.report.picture import importance_png, pareto_png
from plastsearch.report.sections import SPACE_FILE, folder_of, opening, report
from plastsearch.report.tables import CSV, PARQUET, as_csv, write_parquet
from plastsearch.report.trust import reliabilities, trust
from plastsearch.report.verdict import verdict
from plastsearch.report.why_page import importance_html
from plastsearch.tracking.mlflow_pages import FRONT_TAG, MEMBERSHIP_TAG, RUNS_TAG, Rendering

PAGE, PICTURE, REPORT, LATEX = "pareto.html", "pareto.png", "report.html", "tables.tex"
CAPTION = (
    "Ringed: members of the front in all objectives{shapes}. Line: what is best in the two objectives shown. "
    "{shaded}Bars: 95 % intervals. Hover for the configuration; click the legend to hide."
)
SHADED = "Shaded: where 50 and 95 % of the fronts lie that {sources} allow{alone}. "


def publish(
    results: Results, out: Path | None = None, gathered: Gathered | None = None, more: Sequence[Block] = ()
) -> dict[str, Path]:
    """Write the report folder, or `out`, and return its files by name; each appears whole or not at all.

    `more`: blocks that whoever stands above this room adds at the end.
    """
    folder = out or folder_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    found = gathered or gather(results)
    blocks = [*report(results, gathered=found), *more]
    table = columns(results)
    drawn = _figures(found, folder)
    texts = {
        PAGE: pareto_html(results, *_around(results)),
        choose.FILE: choose.choose_html(results, verdict(results), caption(results), folder / SPACE_FILE),
        "report.md": as_markdown(with_png(with_front(blocks))),
        CSV: as_csv(table),
        LATEX: _latex(results, found),
        SPACE_FILE: yaml.safe_dump(results.spec, sort_keys=False, allow_unicode=True, width=110),
    }
    # A browser, or MLflow's mirror, may read these at any moment while the sweep goes on: never half a file.
    for name, text in texts.items():
        with whole_file(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")
    write_parquet(table, folder / PARQUET, results.name)
    with whole_file(folder / PICTURE) as draft:
        pareto_png(results, draft)
    files = {name: folder / name for name in (*texts, PARQUET, PICTURE)} | drawn | _importances(results, folder)
    # The last, for pictures go into it; those of ablations lie beside the sweep.
    with whole_file(folder / REPORT) as draft:
        draft.write_text(report_page(results.name, with_front(blocks), [folder, folder_of(results)]), encoding="utf-8")
    return files | {REPORT: folder / REPORT}


def with_front(blocks: Sequence[Block]) -> list[Block]:
    """The same with the front's picture under the title; a terminal, which is given the same blocks, shows none."""
    return [blocks[0], Figure(PICTURE, "Pareto front"), *blocks[1:]]


def _figures(found: Gathered, folder: Path) -> dict[str, Path]:
    """Those that the report names and that are its own to draw."""
    files: dict[str, Path] = {}
    if (layers := found.layers) is not None and (cells := found.cells) is not None:
        files |= draw(folder, LAYERS, lambda: layers_figure(layers)) | draw(folder, GRID, lambda: grid_figure(cells))
    if (order := found.ranks) is not None:
        files |= draw(folder, RANKS, lambda: ranks_figure(order))
    return files


def _latex(results: Results, found: Gathered) -> str:
    """The tables a paper may want: methods, and finalists by attack."""
    caption = f"Methods of sweep {results.name}: equal error rates with 95 % intervals, costs and parameters."
    parts = [HEAD]
    if found.table.arms:
        parts.append(latex_table(paper_columns(found.table), caption, results.name))
    if found.attacks is not None:
        where = "evaluation split" if found.attacks.split == "evaluation" else "search-dev"
        caption = f"Finalists of sweep {results.name} by attack: EER (%) on the {where}, 95 % intervals."
        parts.append(latex_table(attacks_table(results, found.attacks), caption, f"{results.name} attacks"))
    return "\n".join(parts)


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
    around = [Text(text) for text in (brackets(results), gain_words(results)) if text and results.front]
    note = as_markdown([Points(tuple(verdict(results))), front_table(results), *around, *trust(results)])
    named = {PAGE: f"pareto/{PAGE}", PICTURE: f"pareto/{PICTURE}"}
    return Rendering(
        files={named.get(name, f"report/{name}"): path for name, path in files.items()} | answers(folder),
        page=named[PAGE],
        picture=named[PICTURE],
        note=note,
        marks={row.number: marks for row in results.rows if (marks := _marks(row))},
        means={row.number: _means(results, row) for row in results.rows if row.again},
        tags=_tags(results),
        summary=_summary(results),
    )


def _marks(row: TrialRow) -> dict[str, str]:
    """Tags by which a trial's run in MLflow tells how sure its place in the front is."""
    found = {FRONT_TAG: "certain" if row.certain else "probable"} if row.in_front else {}
    # Of the many that are hardly members nothing is said: their shares move with every trial that ends.
    if row.membership is not None and (row.in_front or row.membership >= 0.05):
        found[MEMBERSHIP_TAG] = f"{row.membership:.2f}"
    if row.again or found:
        found[RUNS_TAG] = str(len(row.runs))
    return found


def _means(results: Results, row: TrialRow) -> dict[str, float]:
    found = {f"mean_{one.metric}": value for one, value in zip(results.objectives, row.values, strict=True)}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _tags(results: Results) -> dict[str, str]:
    """Of the sweep's own run: the knee, and who is best within a budget."""
    found = {} if results.knee is None else {"plastsearch.knee": str(results.knee.number)}
    for one in best_under(results) if results.front else ():
        if one.row is not None:
            said = f"{one.bound:g}: trial {one.row.number} ({number(one.row.values[0], results.objectives[0].metric)})"
            name = f"plastsearch.best_under.{one.metric}"
            found[name] = f"{found[name]}; {said}" if name in found else said
    return found


def _summary(results: Results) -> dict[str, float]:
    """Numbers of the sweep as a whole."""
    counts = {state: float(len(results.in_state(state))) for state in ("done", "failed", "halted", "reused")}
    found = {f"trials_{state}": count for state, count in counts.items()} | {"front_size": float(len(results.front))}
    if results.repeated:
        found["front_certain"] = float(sum(row.certain for row in results.front))
    if results.gain is not None:
        found["gain"] = results.gain
    if results.likely_gain is not None:
        found |= dict(zip(("gain_likely", "gain_low", "gain_high"), results.likely_gain, strict=True))
    found |= {f"foretold.at_{100 * one.share:.0f}": one.correlation for one in early(results)}
    asked = {one.metric for one in results.objectives}
    for metric, noise in reliabilities(results).items():
        found[f"reliability.{metric}"] = noise.reliability
        if metric in asked:
            found |= {f"reliability.{metric}_low": noise.low, f"reliability.{metric}_high": noise.high}
    return found


def report_json(
    results: Results, under: Sequence[tuple[str, float]] = (), gathered: Gathered | None = None
) -> dict[str, object]:
    """The report for programs; `under`: budgets that were asked for."""

    def comparison(one: Comparison) -> dict[str, object]:
        return asdict(one) | {"finding": one.finding}

    def row(one: TrialRow) -> dict[str, object]:
        return {
            "trial": one.number, "id": one.record.id, "role": one.record.role, "control": one.record.control,
            "state": one.record.state, "in_front": one.in_front, "allowed": one.allowed, "params": one.record.params,
            "metrics": one.metrics, "reason": one.record.reason, "config": one.record.config,
        }  # fmt: skip

    def trial(one: TrialRow) -> dict[str, object]:
        means = zip(results.objectives, one.values, strict=True)
        within = {name: results.interval(one, at) for at, name in enumerate(metrics) if one.allowed is not None}
        return row(one) | {
            "runs": len(one.runs), "membership": one.membership, "certain": one.certain,
            "means": {objective.metric: value for objective, value in means if math.isfinite(value)},
            "intervals": within, "repeats": [row(run) for run in (*one.again, *one.lost)],
        }  # fmt: skip

    metrics = [one.metric for one in results.objectives]
    certainty = results.certainty
    likely = results.likely_gain
    weighed = importance.load(results)
    return {
        "folder": str(results.folder), "name": results.name, "status": results.status, "seconds": results.seconds,
        "spec_hash": results.spec_hash, "overrides": results.overrides,
        "objectives": [one.model_dump() for one in results.objectives],
        "hypervolume": results.hypervolume,
        "gain": {"measured": results.gain, **dict(zip(("likely", "low", "high"), likely or [None] * 3, strict=True)),
                 "by": certainty.sources if certainty is not None else None},
        "reliability": {metric: asdict(noise) for metric, noise in reliabilities(results).items()},
        "foretold": [asdict(one) for one in early(results)],
        "knee": results.knee.number if results.knee else None,
        "best_under": [
            {"metric": one.metric, "bound": one.bound, "trial": one.row.number if one.row else None}
            for one in best_under(results, under)
        ],
        "front": [one.number for one in results.front], "verdict": verdict(results),
        "comparisons": [comparison(one) for one in results.comparisons], "savings": savings(results),
        "paper": (gathered or gather(results)).plain(),
        "importance": None if weighed is None else weighed.model_dump(mode="json"),
        "ablations": [one.model_dump(mode="json") for one in load_ablations(results.folder)],
        "trials": [trial(one) for one in results.rows],
        "finalists": [
            {"of": one.of, "runs": [row(run) for run in one.rows], "eval_eer_mean": mean(one.values("eval_eer"))
             if one.values("eval_eer") else None}
            for one in results.finalists
        ],
    }  # fmt: skip


def _around(results: Results) -> tuple[str, str]:
    tail: list[Block] = [Text(caption(results)), Points(tuple(verdict(results))), front_table(results)]
    tail += [Text(brackets(results)), Text(gain_words(results))] if results.front else []
    return as_html(opening(results)[1:]), as_html(tail)


def caption(results: Results) -> str:
    """How to read the figure; of single runs that the band knows nothing of seeds."""
    shapes = ", circles where that is certain, triangles where it is probable" if results.repeated else ""
    found = results.certainty
    alone = "" if found is None or found.seeds else " (each trial ran once: what other seeds would do is not in it)"
    shaded = "" if found is None else SHADED.format(sources=found.sources, alone=alone)
    return CAPTION.format(shapes=shapes, shaded=shaded)
