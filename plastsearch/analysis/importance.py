"""How much each parameter matters for each objective: what is asked, what was found, and the words for it.

Two methods side by side, since they may disagree strongly: PED-ANOVA (what sets the best trials apart) and permutation
of a random forest (what a model of all trials rests on). They stand in importance_methods.py, with the libraries they
need, and run in a process apart: a driver would keep 150 MB for good.
"""

import csv
import io
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from plastsearch.analysis.figure import title
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Block, Heading, Table, Text
from plastsearch.files import whole_file
from plastsearch.spec.coherence import value_at
from plastsearch.spec.config import content_id
from plastsearch.spec.constraints import Goal

MODULE = "plastsearch.analysis.importance_methods"
DATA, TABLE, PICTURE, PAGE = "importance.json", "importance.csv", "importance.png", "importance.html"
LEAST, FEW = 10, 30  # trials: below the first nothing is worked out, below the second it is said to be unsure
MOST = 800  # trials that are weighed: of more, so many are drawn; twice as many take twice as long and tell the same
GROWN = 1.25  # a sweep that still runs is looked at again once it has so many times as many trials
PATIENCE_S = 600.0
SEED = 0  # of which are drawn, of resamples and forests
SITES = "layers"  # under which all sites are summed
HEADING = "What mattered?"


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Column(_Plain):
    """One parameter of every trial; None where a trial does not have it."""

    name: str
    values: tuple[bool | int | float | str | None, ...]
    log: bool = False
    group: str | None = None


class Aim(_Plain):
    """One objective of every trial."""

    metric: str
    goal: Goal
    values: tuple[float, ...]


class Request(_Plain):
    """What is asked: plain data, for it crosses processes."""

    columns: tuple[Column, ...]
    aims: tuple[Aim, ...]
    quantile: float = 0.25  # PED-ANOVA: the best quarter against all; a tenth of 40 trials would be 4
    resamples: int = 50
    forests: int = 8  # seeds
    trees: int = 64
    seed: int = 0
    drawn_from: int | None = None  # so many trials; None: all are here

    @property
    def trials(self) -> int:
        """How many."""
        return len(self.aims[0].values)

    @property
    def known(self) -> int:
        """How many there are, drawn or not."""
        return self.drawn_from or self.trials

    @property
    def key(self) -> str:
        """A name for all of it."""
        return content_id(self.model_dump(mode="json"))


class Weight(_Plain):
    """A parameter's importance by both methods, each with its interval."""

    name: str
    group: str | None = None
    ped: float  # share of all parameters' divergences, 0 to 1; resampled trials
    ped_low: float
    ped_high: float
    ped_chance: float  # what it would hardly exceed (95 %) if it had nothing to do with the objective
    forest: float  # R² lost when its values are shuffled; lowest and highest over forests of other seeds
    forest_low: float
    forest_high: float


class Importance(_Plain):
    """All parameters for one objective; `sums`: groups, such as all sites."""

    metric: str
    weights: tuple[Weight, ...]
    sums: tuple[Weight, ...] = ()
    r2: float  # out of bag: of trials that a tree has not seen
    r2_low: float
    r2_high: float
    agreement: float | None = None  # the part of the weight that both methods give to the same parameters


class Importances(_Plain):
    """What was found, of which trials."""

    key: str
    trials: int
    drawn_from: int | None = None
    seed: int = 0
    quantile: float
    forests: int
    resamples: int
    objectives: tuple[Importance, ...]


def request_of(results: Results) -> Request | None:
    """The finished trials of the search as columns, by their means over seeds; None if they are too few."""
    rows = [row for row in results.rows if row.record.role == "search" and row.allowed is not None and row.complete]
    if len(rows) < LEAST:
        return None
    drawn_from = len(rows) if len(rows) > MOST else None
    if drawn_from is not None:
        rows = [rows[n] for n in sorted(random.Random(SEED).sample(range(drawn_from), MOST))]
    columns = [one for one in _columns(results.spec, rows) if len(set(map(repr, one.values))) > 1]
    aims = [
        Aim(metric=one.metric, goal=one.goal, values=tuple(row.values[at] for row in rows))
        for at, one in enumerate(results.objectives)
    ]
    return Request(columns=tuple(columns), aims=tuple(aims), seed=SEED, drawn_from=drawn_from) if columns else None


def load(results: Results) -> Importances | None:
    """What was worked out last; None if nothing was."""
    path = results.folder / "report" / DATA
    try:
        if not path.is_file():
            return None
        return Importances.model_validate_json(path.read_bytes())
    except (ValidationError, OSError):  # of another version, or not to be read: it is worked out anew
        return None


def wanted(results: Results) -> Request | None:
    """What is to be worked out; None if that is done, or too little has changed, or there are too few trials."""
    asked, old = request_of(results), load(results)
    if asked is None or (old is not None and old.key == asked.key):
        return None
    if old is not None and results.status == "running" and asked.known < GROWN * (old.drawn_from or old.trials):
        return None
    return asked


def refresh(results: Results) -> str | None:
    """Bring importance.json up to the trials, in a process apart; why that failed, if it did."""
    # Told, not raised: a sweep's table and figures do not hang on it.
    asked = wanted(results)
    if asked is None or not os.access(results.folder, os.W_OK):  # of a sweep of others one sees what there is
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-m", MODULE], input=asked.model_dump_json().encode(), capture_output=True,
            start_new_session=True, timeout=PATIENCE_S, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{results.folder}: importances were not worked out within {PATIENCE_S:g} s"
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        return f"{results.folder}: importances could not be worked out ({words[-1] if words else error.returncode})"
    try:
        save(results, Importances.model_validate_json(done.stdout))
    except OSError as error:
        return f"{results.folder}: importances could not be written ({error.strerror or error})"
    return None


def save(results: Results, found: Importances) -> None:
    """Write it down beside the report."""
    folder = results.folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / DATA) as draft:
        draft.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _columns(spec: Mapping[str, JsonValue], rows: Sequence[TrialRow]) -> list[Column]:
    space = spec.get("space")
    found: list[Column] = []
    for key, domain in (space if isinstance(space, dict) else {}).items():
        plain = domain if isinstance(domain, dict) else {}
        log = bool(plain.get("log"))
        sites = sorted({site for row in rows for site in row.config.growth()}, key=natural)
        if plain.get("kind") == "subset":
            # From what was run, not from what a sampler chose: with windows or blocks those are no sites.
            grown = [frozenset(row.config.growth()) for row in rows]
            found += [Column(name=site, values=tuple(site in one for one in grown), group=SITES) for site in sites]
        elif plain.get("per_layer"):
            counts = [{} if row.config.rings() else row.config.growth() for row in rows]
            found += [
                Column(name=f"{key}.{site}", values=tuple(one.get(site) for one in counts), log=log, group=key)
                for site in sites
            ]
        else:
            values = tuple(_flat(value_at(row.config, key)) if key in row.record.params else None for row in rows)
            found.append(Column(name=key, values=values, log=log))
    return found


def _flat(value: object) -> bool | int | float | str | None:
    return value if isinstance(value, bool | int | float | str) or value is None else repr(value)


def natural(name: str) -> list[tuple[int, str]]:
    """encoder.2 before encoder.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def importance_blocks(found: Importances | None, results: Results) -> list[Block]:
    """The section of a report; a sweep of few trials gets a sentence."""
    rows = [row for row in results.rows if row.record.role == "search" and row.allowed is not None]
    if found is None:
        if not rows or len(rows) >= LEAST:
            return []
        return [
            Heading(HEADING),
            Text(f"{len(rows)} finished trials tell nothing of single parameters; from {LEAST} on they are weighed."),
        ]
    of = "" if found.drawn_from is None else f" that were drawn out of {found.drawn_from:,} (seed {found.seed})"
    method = (
        f"From {found.trials:,} trials{of}. PED-ANOVA: how unlike all trials the best {100 * found.quantile:.0f} % "
        f"are in a parameter, as a share of all parameters, with a 95 % interval over {found.resamples} resamples; "
        "a parameter that does nothing stays below its chance (95 %), found by shuffling the results. Forest: how "
        f"much R² (of trials that a tree has not seen) is lost when a parameter's values are shuffled, from the lowest "
        f"to the highest of {found.forests} forests."
    )
    blocks: list[Block] = [Heading(HEADING), Text(method)]
    if found.trials < FEW:
        blocks.append(Text(f"{found.trials} trials are few: below {FEW} both methods mostly weigh noise."))
    for one in found.objectives:
        blocks += [Text(_said(one)), _table(one)]
    return blocks


def verdicts(one: Importance) -> list[str]:
    """What must be known before the numbers are believed."""
    said = [f"Out-of-bag R² {one.r2:.2f} [{one.r2_low:.2f}, {one.r2_high:.2f}]"]
    if one.r2 <= 0:
        said.append("nothing can be learnt from these trials: the forest foretells no better than their mean")
    elif one.agreement is not None and one.agreement < 0.5:
        said.append(
            f"the two methods disagree (they share {100 * one.agreement:.0f} % of the weight), so rest on neither alone"
        )
    return said


def _said(one: Importance) -> str:
    return f"For {title(one.metric)}: {'; '.join(verdicts(one))}."


def _table(one: Importance) -> Table:
    ordered = [*one.sums, *sorted(one.weights, key=lambda weight: -weight.ped)]
    rows = tuple(
        (
            f"{weight.name} (sum)" if weight in one.sums else weight.name,
            f"{100 * weight.ped:.0f} % [{100 * weight.ped_low:.0f}, {100 * weight.ped_high:.0f}]",
            f"{100 * weight.ped_chance:.0f} %",
            f"{_short(weight.forest)} [{_short(weight.forest_low)}, {_short(weight.forest_high)}]",
        )
        for weight in ordered
    )
    return Table(("parameter", "PED-ANOVA", "chance", "forest, R² lost"), rows, frozenset({"parameter"}))


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # without the sign of a negative nothing


def importance_csv(found: Importances) -> str:
    """One line for each parameter and objective."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("ped", "ped_low", "ped_high", "ped_chance", "forest", "forest_low", "forest_high")
    writer.writerow(["objective", "parameter", "group", "sum", *names, "r2", "trials"])
    for one in found.objectives:
        for weight in (*one.weights, *one.sums):
            numbers = [f"{getattr(weight, name):.6g}" for name in names]
            writer.writerow(
                [one.metric, weight.name, weight.group, weight in one.sums, *numbers, f"{one.r2:.6g}", found.trials]
            )
    return out.getvalue()
