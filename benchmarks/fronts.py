"""Whether bands and gains of uncertain fronts hold what they say: worlds whose true front is known.

    python benchmarks/fronts.py --worlds 200 --picture docs/fronts.png

Trials have a true EER that falls with an exact cost and scatters around that; they run one to four times. `drawn` is
what the report does (pareto/truths.py). `plain` resamples around the means as measured, which counts the luck of the
best twice. The picture is of one such world, drawn by the code that draws every report.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from results import Cell, Table, write

from plastsearch.analysis.results import load_results
from plastsearch.pareto.attainment import gain, surfaces
from plastsearch.pareto.front import Goal, front
from plastsearch.pareto.truths import CERTAIN, shares, truths
from plastsearch.report.picture import pareto_png
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec

Floats = NDArray[np.float64]
GOALS: tuple[Goal, Goal] = ("min", "min")
REFERENCE = (50.0, 1.1)
DRAWS, FREEDOM = 400, 20
WORLDS = [(2.0, 1.0, 24), (2.0, 2.0, 24), (1.0, 2.4, 16), (1.0, 1.0, 100), (0.2, 2.0, 24)]
COLUMNS = [
    ("between configurations", ".1f"), ("one run", ".1f"), ("trials", ".0f"), ("drawn holds the true gain", ".0%"),
    ("plain holds it", ".0%"), ("measured gain is too high", ".0%"), ("median front, off by", ".2f"),
    ("measured front, off by", ".2f"), ("called certain", ",.0f"), ("of these members", ".0%"),
]  # fmt: skip


def world(
    rng: np.random.Generator, between: float, luck: float, trials: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """True values [trials, 2], means as measured, and numbers of runs."""
    cost = np.sort(rng.uniform(0.05, 1.0, trials))
    true = np.stack([18 - 6 * cost + rng.normal(0, between, trials), cost], axis=1)
    runs = rng.integers(1, 5, trials)
    seen = true.copy()
    seen[:, 0] += rng.normal(0, luck, trials) / np.sqrt(runs)
    return true, seen, runs


def judged(rng: np.random.Generator, between: float, luck: float, trials: int) -> list[float]:
    """One world: hits of both intervals, whether what is measured flatters, errors of both fronts, certain members."""
    true, seen, runs = world(rng, between, luck, trials)
    variance = luck**2 * rng.chisquare(FREEDOM) / FREEDOM  # as a sweep with 20 degrees of freedom would estimate it
    values = np.repeat(seen[None], DRAWS, axis=0)
    plain = values.copy()
    values[:, :, 0] = truths(seen[:, 0], variance / runs, seen[:, 1:], DRAWS, FREEDOM, rng)
    plain[:, :, 0] += rng.normal(size=(DRAWS, trials)) * np.sqrt(variance / runs)
    wanted, measured = (_gain(points) for points in (true, seen))
    inside = [_holds([_gain(points) for points in draws], wanted) for draws in (values, plain)]
    (median,) = surfaces(values, GOALS, [0.5])
    off = [abs(min(y) - true[:, 0].min()) for y in ([x for x, _ in median], seen[:, 0])]
    likely = shares(seen, [variance, 0.0], runs.tolist(), GOALS, freedoms=[FREEDOM, 0]).front
    sure = (likely >= CERTAIN) & (runs > 1)
    return [*inside, measured > wanted, *off, int(sure.sum()), int(front(true, GOALS)[sure].sum())]


def _gain(points: Floats) -> float:
    found = gain(points, None, GOALS, REFERENCE)
    assert found is not None
    return found


def _holds(found: list[float], wanted: float) -> bool:
    low, high = np.quantile(found, [0.025, 0.975])
    return bool(low <= wanted <= high)


def picture(path: Path, seed: int) -> None:
    """A made-up sweep of one world, as its report shows it."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "a_drawn_world"
        folder.mkdir()
        lines = journal(rng)
        (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        pareto_png(load_results(folder), path)


def journal(rng: np.random.Generator) -> list[dict[str, Any]]:
    """What a driver would have written: 24 trials and a baseline, of which the best ran again."""
    true, _, _ = world(rng, 1.0, 1.0, 24)
    true = np.vstack([[[14.0, 1.0]], true])
    objectives = [{"metric": "dev_eer"}, {"metric": "backward_ratio"}]
    base = {"method": "plasticity", "layers": ["encoder.0.ffn"], "neurons": 16}
    asked = {"name": "a_drawn_world", "base": base, "objectives": objectives, "controls": ["baseline"]}
    spec = SweepSpec.model_validate(asked)
    lines: list[dict[str, Any]] = [{"event": "sweep", "at": 0.0, "name": "a_drawn_world", "spec": spec.plain()}]
    first = true[:, 0] + rng.normal(0, 1.0, len(true))
    again = {0: 3} | {int(n) + 1: 1 + int(rng.integers(0, 3)) for n in np.argsort(first[1:])[:12]}
    runs = [(n, 0) for n in range(len(true))] + [(n, s) for n, count in again.items() for s in range(1, count + 1)]
    for number, (n, seed) in enumerate(runs):
        config = TrialConfig.model_validate({"seed": seed} | (base if n else {"method": "baseline"}))
        role = "replicate" if seed else "search" if n else "control"
        who = {"role": role, "control": None if n else "baseline", "of": n if seed else None, "seed": seed}
        eer = float(first[n] if not seed else true[n, 0] + rng.normal(0, 1.0))
        metrics = {"dev_eer": eer, "dev_eer_low": 0.9 * eer, "dev_eer_high": 1.1 * eer, "backward_ratio": true[n, 1]}
        about = {"at": number + 1.0, "trial": number}
        lines.append({"event": "propose", **about, "id": config.trial_id(), "params": {},
                      "config": config.model_dump(mode="json", by_alias=True), **who})  # fmt: skip
        lines.append({"event": "end", **about, "attempt": 1, "state": "done", "metrics": metrics})
    return lines


def main() -> None:
    """Count, write down, draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--worlds", type=int, default=200)
    options.add_argument("--picture", type=Path)
    asked = options.parse_args()
    rows: list[list[Cell]] = []
    for between, luck, trials in WORLDS:
        found = np.array([judged(np.random.default_rng([7, n]), between, luck, trials) for n in range(asked.worlds)])
        *means, _, _ = found.mean(axis=0).tolist()
        certain, members = found[:, -2:].sum(axis=0).tolist()
        rows.append([between, luck, float(trials), *means, certain, members / certain if certain else None])
    table = Table(COLUMNS, rows)
    print(table.markdown())
    write("fronts", {"worlds": table})
    if asked.picture is not None:
        picture(asked.picture, seed=3)


if __name__ == "__main__":
    main()
