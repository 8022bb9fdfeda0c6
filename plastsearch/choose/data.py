"""What the page to choose on shows, as plain columns: one value for each trial of the search and each control.

Every number is the report's own: fronts, memberships, bands, intervals and means come from `analysis`. Of the
evaluation split there is what finalists reached, under the trial they repeat; no column holds it, so that nothing can
select by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from plastsearch.analysis import figure
from plastsearch.analysis.causes import causes
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.choose.details import Details, details, plain_number
from plastsearch.choose.growth import Growth, grown_rings, grown_sites, growth
from plastsearch.spec.constraints import METRICS
from plastsearch.spec.methods import reads
from plastsearch.tracking.mlflow_links import Links, read_links

Number = int | float | None
EVALUATION = "eval_"  # how metrics of the evaluation split begin
MOST_WORDS = 14  # a column of more different words is no axis
NO_REASON = "no reason recorded"
TRIAL = "trial"


@dataclass(frozen=True)
class Column:
    """One property of all trials; words are places in `words`, and `low` and `high` hold 95 % intervals."""

    key: str
    title: str
    short: str
    kind: Literal["number", "word"]
    of: Literal["trial", "objective", "metric", "setting", "growth"]
    values: list[Number]
    goal: Literal["min", "max"] | None = None
    form: Literal["count", "percent", "ratio", "plain"] = "plain"  # how numbers are written
    log: bool = False
    meaning: str = ""
    words: Sequence[str] = ()
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()


@dataclass(frozen=True)
class Look:
    """A group of trials that are drawn alike."""

    name: str
    kind: str
    colour: str
    symbol: str


@dataclass(frozen=True)
class Band:
    """Where a share of the possible fronts runs, as a polygon."""

    name: str
    x: list[Number]
    y: list[Number]


@dataclass(frozen=True)
class Front:
    """The border of the trials that count, and its bands, in one pair of columns."""

    x: str
    y: str
    line_x: list[Number]
    line_y: list[Number]
    bands: list[Band]


@dataclass(frozen=True)
class Page:
    """All of the page's data."""

    name: str
    question: str
    status: str
    folder: str
    space: str  # the published space, which `plastsearch trial` reads
    spec_hash: str
    objectives: list[str]
    constraints: list[str]
    verdict: list[str]
    caption: str
    repeated: bool
    knee: int | None
    winner: int | None
    baseline: int | None
    looks: list[Look]
    columns: list[Column]
    fronts: list[Front]
    states: list[str]
    state: list[int]  # of each trial, a place in `states`
    look: list[int]  # a place in `looks`; -1 has no result
    labels: dict[int, str]  # place → name, of controls
    ids: list[str]
    membership: list[Number]
    certain: list[int]  # numbers of trials
    members: list[int]
    refused: list[int]  # break a constraint, controls among them
    runs: list[int]
    causes: list[tuple[str, list[int]]]  # why trials failed, most frequent first → their numbers
    growth: Growth
    details: Details
    links: Links | None


def page_data(results: Results, verdict: Sequence[str], caption: str, space: str) -> Page:
    """Everything the page shows of a sweep; the words around it are given."""
    rows = results.rows
    groups = figure.groups(results)
    places = {row.number: at for at, group in enumerate(groups) for row in group.rows}
    states = list(dict.fromkeys(row.record.state for row in rows))
    baseline = results.control("baseline")
    base = results.spec.get("base")
    return Page(
        name=results.name, question=results.question, status=results.status, folder=str(results.folder), space=space,
        spec_hash=results.spec_hash, objectives=[one.metric for one in results.objectives],
        constraints=_constraints(results), verdict=list(verdict), caption=caption, repeated=results.repeated,
        knee=_number_of(results.knee), winner=_number_of(results.winner), baseline=_number_of(baseline),
        looks=[_look(group) for group in groups], columns=columns(results), fronts=_fronts(results),
        states=[str(state) for state in states], state=[states.index(row.record.state) for row in rows],
        look=[places.get(row.number, -1) for row in rows],
        labels={at: row.label for at, row in enumerate(rows) if row.record.control is not None},
        ids=[row.record.id for row in rows],
        membership=[plain_number(row.membership) for row in rows],
        certain=[row.number for row in results.front if row.certain],
        members=[row.number for row in results.front],
        refused=[row.number for row in results.plotted if not row.allowed],
        runs=[len(row.runs) for row in rows], causes=_causes(rows), growth=growth(rows),
        details=details(results, base if isinstance(base, dict) else {}), links=read_links(results.folder),
    )  # fmt: skip


def _number_of(row: TrialRow | None) -> int | None:
    return None if row is None else row.number


def _constraints(results: Results) -> list[str]:
    found = results.spec.get("constraints")
    return [str(one) for one in found] if isinstance(found, list) else []


def _look(group: figure.Group) -> Look:
    if group.kind == "control":
        return Look(group.name, group.kind, figure.COLOURS[group.look], figure.SYMBOLS[group.look])
    symbols = {"front": "circle", "probable": "triangle", "refused": "hollow", "trials": "dot"}
    member = group.kind in ("front", "probable")
    return Look(group.name, group.kind, figure.COLOURS["front"] if member else "", symbols[group.kind])


def _causes(rows: Sequence[TrialRow]) -> list[tuple[str, list[int]]]:
    failed = [(row.record.reason or NO_REASON, row.number) for row in rows if row.record.state == "failed"]
    return [(one.words, list(one.trials)) for one in causes(failed)]


def columns(results: Results) -> list[Column]:
    """The trial's number, objectives, what was chosen, where it grew, and all other metrics of search-dev and costs."""
    rows = results.rows
    first = Column(TRIAL, "trial", "trial", "number", "trial", [row.number for row in rows], form="count")
    objectives = [_objective(results, at) for at in range(len(results.objectives))]
    known = {one.metric for one in results.objectives}
    names = dict.fromkeys(name for row in rows for name in row.metrics if name in METRICS)
    metrics = [_metric(rows, name) for name in names if name not in known and not name.startswith(EVALUATION)]
    return [first, *objectives, *_settings(results), *_grown(rows), *metrics]


def _objective(results: Results, at: int) -> Column:
    one = results.objectives[at]
    within = [results.interval(row, at) if row.allowed is not None else None for row in results.rows]
    known = any(bounds is not None for bounds in within)
    low, high = ([None if bounds is None else plain_number(bounds[end]) for bounds in within] for end in (0, 1))
    return Column(
        one.metric, figure.title(one.metric), figure.column(one.metric), "number", "objective",
        [plain_number(row.values[at]) if row.allowed is not None else None for row in results.rows],
        goal=one.goal, form=_form(one.metric), log=figure.wide(results, at), meaning=_meaning(one.metric),
        low=low if known else (), high=high if known else (),
    )  # fmt: skip


def _metric(rows: Sequence[TrialRow], name: str) -> Column:
    # Beside the objectives, too, a trial without a result has no place.
    values = [plain_number(row.metrics.get(name)) if row.allowed is not None else None for row in rows]
    return Column(
        name, figure.title(name), figure.column(name), "number", "metric", values, goal=METRICS[name].goal,
        form=_form(name), log=_wide(values), meaning=_meaning(name),
    )  # fmt: skip


def _meaning(metric: str) -> str:
    return METRICS[metric].meaning if metric in METRICS else ""


def _form(metric: str) -> Literal["count", "percent", "ratio", "plain"]:
    # as analysis/figure.py writes numbers
    if metric.startswith("params"):
        return "count"
    if metric.endswith(("eer", "eer_low", "eer_high")):
        return "percent"
    return "ratio" if metric.endswith("ratio") else "plain"


def _wide(values: Sequence[Number]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and min(known) > 0 and max(known) / min(known) > figure.WIDE


def _settings(results: Results) -> list[Column]:
    """What a person wants to know of a configuration, and all that the space asks for beside."""
    each = [_chosen(row) for row in results.rows]
    asked = results.spec.get("space")
    paths = [path for path in (asked if isinstance(asked, dict) else {}) if path not in ("layers", "neurons", "rank")]
    for row, said in zip(results.rows, each, strict=True):
        for path in paths:
            name = figure.DESCRIBED.get(path, path)
            value = at_path(row.record.config, path)
            if name not in said and value is not None and reads(row.config.method, path.partition(".")[0]):
                said[name] = value if isinstance(value, int | float | str) else str(value)
    names = list(dict.fromkeys(name for said in each for name in said))
    return [_setting(name, [said.get(name) for said in each]) for name in names if name != "placed"]


def _chosen(row: TrialRow) -> dict[str, JsonValue]:
    return dict(figure.main_settings(row))


def _setting(name: str, values: list[JsonValue]) -> Column:
    numbers = [_as_number(value) for value in values]
    if all((number is None) == (value is None) for number, value in zip(numbers, values, strict=True)):
        log = _wide(numbers) and name not in ("neurons", "rank")
        return Column(f"set.{name}", name, name, "number", "setting", [*map(plain_number, numbers)], log=log)
    words = list(dict.fromkeys(str(value) for value in values if value is not None))
    index: Callable[[JsonValue], Number] = lambda value: None if value is None else words.index(str(value))  # noqa: E731
    return Column(f"set.{name}", name, name, "word", "setting", [index(value) for value in values], words=words)


def _as_number(value: JsonValue) -> Number:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None


def at_path(config: Mapping[str, JsonValue], path: str) -> JsonValue:
    """A configuration's value by its dotted path; None where it has none."""
    found: JsonValue = dict(config)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _grown(rows: Sequence[TrialRow]) -> list[Column]:
    """Sums over the sites that a trial grew."""
    sites = [grown_sites(row) for row in rows]
    counts: list[Number] = [len(of) + len(grown_rings(row)) for of, row in zip(sites, rows, strict=True)]
    sums: list[Number] = [sum(one.added for one in of.values()) for of in sites]
    kept: list[Number] = [sum(one.kept for one in of.values()) for of in sites]
    found = [
        Column("grown.sites", "sites grown", "sites grown", "number", "growth", counts, form="count"),
        Column("grown.added", "neurons added", "neurons added", "number", "growth", sums, form="count"),
        Column("grown.kept", "new neurons kept", "new kept", "number", "growth", kept, form="count"),
    ]
    return [one for one in found if len(set(one.values)) > 1]


def _fronts(results: Results) -> list[Front]:
    keys = [TRIAL, *(one.metric for one in results.objectives)]
    found = []
    for pair in figure.axis_pairs(results):
        line = figure.front_line(results, pair)
        bands = [Band(figure.band_name(share), *_both(corners)) for share, corners in figure.bands(results, pair)]
        found.append(Front(keys[pair.x + 1], keys[pair.y + 1], *_both(line), bands))
    return found


def _both(points: Sequence[tuple[float, float]]) -> tuple[list[Number], list[Number]]:
    return [plain_number(x) for x, _ in points], [plain_number(y) for _, y in points]
