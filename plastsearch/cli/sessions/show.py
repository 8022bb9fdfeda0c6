"""A sweep, or one of its trials, in one place: what the report's functions say, where it grew, and what to type."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from plastsearch.analysis.figure import column, number, standing
from plastsearch.analysis.results import Results, results_of
from plastsearch.analysis.rows import TrialRow
from plastsearch.choose.commands import base_of, commands
from plastsearch.choose.details import changes
from plastsearch.choose.growth import Grown, Ring, grown_rings, grown_sites, growth
from plastsearch.documents import Block, Code, Heading, Points, Table, Text
from plastsearch.errors import PlastsearchError
from plastsearch.report.front_section import WORDS, front_table
from plastsearch.report.newborns import of_trial
from plastsearch.report.publish import report_json
from plastsearch.report.sections import SPACE_FILE, finalist_blocks, opening
from plastsearch.report.verdict import verdict
from plastsearch.spec.constraints import METRICS
from plastsearch.spec.methods import METHODS
from plastsearch.tracking.journal import driver_lives
from plastsearch.tracking.reading import LeftOut
from plastsearch.tracking.repair import read_around
from plastsearch.words import duration

BEST, KNEE = "best", "knee"
MOST_DRAWN = 12  # members of a front
MOST_SITES = 48  # of a network that are drawn although nothing grew there
BAR = 32
STAYED, GONE = "#", "."
LEGEND = f"{STAYED} stayed, {GONE} came in and was pruned again"


def opened(folder: Path) -> tuple[Results, list[LeftOut]]:
    """A sweep by the lines of its journal that can be used, and those that cannot."""
    events, left_out = read_around(folder)
    return results_of(folder, events), list(left_out)


def chosen(results: Results, name: str) -> TrialRow:
    """The trial that is meant: best, knee, or the number of any run."""
    if name in (BEST, KNEE):
        row = results.winner if name == BEST else results.knee
        if row is None:
            raise PlastsearchError(f"{results.folder}: no trial is {name} yet; name one by its number")
        return row
    known = {row.number: row for row in results.every}
    if not name.isdigit() or int(name) not in known:
        span = f"0 to {max(known)}" if known else "none yet"
        raise PlastsearchError(f"{results.folder}: no trial {name}; there are {BEST}, {KNEE}, and numbers: {span}")
    return known[int(name)]


def sweep_blocks(results: Results) -> list[Block]:
    """State, front, where its members grew, finalists, and what to type."""
    found = [*opening(results), Text(_driver(results))]
    if not results.front:
        return [*found, Text("No trial has finished with every objective measured, so there is no front yet.")]
    grown = [row for row in results.front if METHODS[row.config.method].grows and grown_sites(row)]
    drawn, rest = grown[:MOST_DRAWN], len(grown[MOST_DRAWN:])
    widest = max((one.added for row in drawn for one in grown_sites(row).values()), default=0)
    drawings = [f"{row.label}\n{_drawing(grown_sites(row), widest)}" for row in drawn]
    found += [Heading("Pareto front"), front_table(results), Points(tuple(verdict(results)))]
    if drawings:
        found += [Heading("Where it grew"), Text(f"Neurons by site; {LEGEND}."), Code("\n\n".join(drawings))]
        found += [Text(f"And {rest} more members: show them by their numbers.")] if rest else []
    best = results.winner or results.front[0]
    return [*found, *finalist_blocks(results), Heading(f"To type for {best.label}"), _typed(results, best)]


def trial_blocks(results: Results, row: TrialRow) -> list[Block]:
    """State, configuration, where it grew, metrics, stages, further runs, and what to type."""
    record = row.record
    state = [record.state, *([] if row.allowed is None else [standing(row)])]
    state += [name for name, one in ((BEST, results.winner), (KNEE, results.knee)) if one and one.number == row.number]
    took = f", took {duration(record.seconds)}" if record.seconds else ""
    found: list[Block] = [
        Heading(f"{row.label} of {results.name}", 1),
        Text(f"{', '.join(state)}; by {record.origin}, id {record.id}, attempts {record.attempts}{took}"),
    ]
    found += [Text(f"Why: {record.reason}")] if record.reason else []
    changed = tuple((path, _said(value)) for path, value in changes(record.config, base_of(results)).items())
    found += [
        Heading("Configuration: what it changes of the sweep's base"),
        Table(("setting", "value"), changed, frozenset({"setting", "value"})),
        *_growth_blocks(row),
        *_metric_blocks(results, row),
        *_stage_blocks(row),
        *of_trial(row),
        *_further_blocks(results, row),
    ]
    warned = tuple(str(text) for text in record.details.get("warnings") or ())
    found += [Heading("Warnings"), Points(warned)] if warned else []
    return [*found, Heading("To type"), _typed(results, row)]


def sweep_json(results: Results, left_out: Sequence[LeftOut]) -> dict[str, object]:
    """The report for programs, with what this page adds."""
    best = results.winner
    return report_json(results) | {
        "driver_lives": driver_lives(results.folder),
        "best": None if best is None else best.number,
        "growth": {row.number: _plain(row) for row in results.front},
        "commands": {row.number: dict(commands(results, row, _space(results))) for row in results.front},
        "left_out": [vars(one) for one in left_out],
    }


def trial_json(results: Results, row: TrialRow, left_out: Sequence[LeftOut]) -> dict[str, object]:
    """One trial for programs."""
    record = row.record
    of = next((one for one in results.finalists if one.of == row.number), None)
    return {
        "sweep": str(results.folder), "trial": row.number, "id": record.id, "label": row.label, "role": record.role,
        "state": record.state, "origin": record.origin, "in_front": row.in_front, "allowed": row.allowed,
        "membership": row.membership, "certain": row.certain, "reason": record.reason, "seconds": record.seconds,
        "config": record.config, "changes": changes(record.config, base_of(results)), "growth": _plain(row),
        "metrics": row.metrics,
        "intervals": {name: found for name in row.metrics if (found := _within(results, row, name))},
        "stages": record.details.get("stages") or [],
        "repeats": [_run(run) for run in (*row.again, *row.lost)],
        "finalists": [_run(run) for run in (of.rows if of is not None else ())],
        "commands": dict(commands(results, row, _space(results))), "left_out": [vars(one) for one in left_out],
    }  # fmt: skip


def _run(row: TrialRow) -> dict[str, object]:
    return {"trial": row.number, "seed": row.record.seed, "state": row.record.state, "metrics": row.metrics}


def _plain(row: TrialRow) -> dict[str, dict[str, int]]:
    return {site: asdict(one) for site, one in (grown_rings(row) or grown_sites(row)).items()}


def _space(results: Results) -> Path:
    return results.folder / "report" / SPACE_FILE


def _driver(results: Results) -> str:
    if driver_lives(results.folder):
        return "Its driver is at work."
    if results.status in ("running", "interrupted"):
        return "No driver is at work on it; its command with --resume goes on."
    return "No driver is at work on it."


def _typed(results: Results, row: TrialRow) -> Code:
    return Code("\n".join(f"{command}  # {what.lower()}" for what, command in commands(results, row, _space(results))))


def _drawing(sites: dict[str, Grown], widest: int, widths: dict[str, int] | None = None) -> str:
    """A bar for each site: so many neurons came in, and so many of them stayed."""
    shown = dict.fromkeys([*(widths or {}), *sites])
    longest = max(map(len, shown), default=0)
    lines = []
    for site in shown:
        width = f" {widths[site]:>6,}" if widths and site in widths else ""
        one = sites.get(site)
        if one is None:
            lines.append(f"{site:{longest}}{width}")
            continue
        full = max(1, round(BAR * one.added / max(1, widest)))
        stayed = min(full, round(full * one.kept / max(1, one.added)))
        old = f", {one.lost} old ones gone" if one.lost else ""
        lines.append(
            f"{site:{longest}}{width}  {STAYED * stayed}{GONE * (full - stayed)}  +{one.added}, {one.kept} stayed{old}"
        )
    return "\n".join(lines)


def _taps(rings: dict[str, Ring]) -> str:
    """A line for each site whose kernels grew."""
    longest = max(map(len, rings))
    return "\n".join(
        f"{site:{longest}}  {one.before or '?'} → {one.grown}"
        + ("" if one.left == one.grown else f", cut to {one.left}")
        for site, one in rings.items()
    )


def _growth_blocks(row: TrialRow) -> list[Block]:
    rings = grown_rings(row)
    if rings:
        return [Heading("Where it grew"), Text("Kernels, in taps along an axis."), Code(_taps(rings))]
    sites = grown_sites(row)
    if not sites:
        return []
    whole = growth([row])
    widths = {site: width for site, width in zip(whole.sites, whole.widths[0], strict=True) if width}
    kinds = {site.rpartition(".")[2] if site.startswith("encoder") else "" for site in sites}
    alike = {
        site: width for site, width in widths.items()
        if (site.rpartition(".")[2] if site.startswith("encoder") else "") in kinds
    }  # fmt: skip
    drawn = alike if len(alike) <= MOST_SITES else {site: width for site, width in alike.items() if site in sites}
    beside = METHODS[row.config.method].adds == "adapters"
    said = "Adapters stand beside these sites." if beside else f"Sites and their widths before; {LEGEND}."
    widest = max(one.added for one in sites.values())
    return [Heading("Where it grew"), Text(said), Code(_drawing(sites, widest, drawn))]


def _within(results: Results, row: TrialRow, metric: str) -> tuple[float, float] | None:
    for at, one in enumerate(results.objectives):
        if one.metric == metric and row.record.role in ("search", "control"):
            return results.interval(row, at)
    return row.interval(metric)


def _metric_blocks(results: Results, row: TrialRow) -> list[Block]:
    if not row.metrics:
        return []
    means = {one.metric: value for one, value in zip(results.objectives, row.values, strict=True)}
    rows = []
    for name in sorted(
        row.metrics, key=lambda name: (name not in means, list(METRICS).index(name) if name in METRICS else 99)
    ):
        if name.endswith(("_low", "_high")) and name.rpartition("_")[0] in row.metrics:
            continue
        within = _within(results, row, name)
        spread = f"[{number(within[0], name)}, {number(within[1], name)}]" if within else ""
        value = means[name] if name in means and row.allowed is not None else row.metrics[name]
        rows.append((name, number(value, name), spread, METRICS[name].meaning if name in METRICS else ""))
    mean = f" Objectives are means over {len(row.runs)} runs." if len(row.runs) > 1 else ""
    left = frozenset({"metric", "what it is"})
    return [
        Heading("Metrics"), Text(f"Brackets hold 95 % intervals.{mean}"),
        Table(("metric", "value", "interval", "what it is"), tuple(rows), left),
    ]  # fmt: skip


def _stage_blocks(row: TrialRow) -> list[Block]:
    stages = row.record.details.get("stages") or []
    if not stages:
        return []
    rows = tuple((str(one["stage"]), str(one["from"]), f"{one['seconds']:.1f} s", str(one["key"])) for one in stages)
    return [Heading("Stages"), Table(("stage", "from", "took", "key"), rows, frozenset({"stage", "from", "key"}))]


def _further_blocks(results: Results, row: TrialRow) -> list[Block]:
    """Runs with other seeds, in the search and as finalists."""
    of = next((one for one in results.finalists if one.of == row.number), None)
    runs = [*row.again, *row.lost, *(of.rows if of is not None else ())]
    if not runs:
        return []
    names = [one.metric for one in results.objectives]
    names += ["eval_eer"] if any("eval_eer" in run.metrics for run in runs) else []
    rows = tuple(
        (str(run.number), run.record.role, str(run.record.seed), run.record.state,
         *(number(run.metrics[name], name) if name in run.metrics else "" for name in names))
        for run in runs
    )  # fmt: skip
    heads = ("trial", "as", "seed", "state", *(column(name) for name in names))
    return [Heading("The same with other seeds"), Table(heads, rows, WORDS | {"as", "state"})]


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
