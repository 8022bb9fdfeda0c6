"""What halting would have done to recorded trials: whom it stops, what it saves, what it loses.

    python benchmarks/halting.py --runs 20

Each run is a sweep of 60 configurations drawn from the recorded table, all with one seed, as a sweep's trials have, one
after the other. Their early dev EERs go through the tool's own `Halting`. Members of the true front are those of the
drawn configurations by means over all seeds. Costs are told at a trial's end only, so `moasha` sees EERs alone, too.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import recorded
from results import Cell, Table, write

from plastsearch.pareto.foretelling import rank_correlation
from plastsearch.pareto.front import front, hypervolume
from plastsearch.spec.sweep import Halt, Objective
from plastsearch.sweep.halting import Halting
from plastsearch.tracking.events import Reported
from plastsearch.tracking.records import TrialRecord

Rule = Literal["asha", "median", "moasha"]
RULES: tuple[Rule, ...] = ("asha", "median", "moasha")
SHARES = (25, 50, 75, 100)
TRAIN, TOTAL = 20, 100  # reported steps: a fifth before growth, as recorded
OBJECTIVES = (Objective(metric="dev_eer"), Objective(metric="backward_gflop"))


@dataclass(frozen=True)
class Outcome:
    """One sweep that halted."""

    halted: float  # share of trials
    saved: float  # share of all steps after growth
    members: float  # share of the true front's members that were stopped
    best: bool  # whether the truly lowest EER was
    volume: float  # true volume of the reported front, against the same sweep without halting


def sweep(table: recorded.Recorded, halt: Halt, rule: Rule, keys: Sequence[recorded.Key], seed: int) -> Outcome:
    """Take trials through the rule in order; one that is stopped reports no more."""
    objectives = OBJECTIVES if rule == "moasha" else OBJECTIVES[:1]
    halting = Halting(rule, objectives, halt.rungs, halt.eta, halt.least)
    reached = [_reached(halting, number, table.curve(key, seed)) for number, key in enumerate(keys)]
    true = np.array([table.truth(key) for key in keys])
    ended = np.array([share == SHARES[-1] for share in reached])
    member = front(true, recorded.GOALS)
    seen = np.array([table.value(key, seed) for key in keys])
    return Outcome(
        halted=float((~ended).mean()),
        saved=float(1 - np.mean(reached) / SHARES[-1]),
        members=float((~ended[member]).mean()),
        best=bool(not ended[true[:, 0] == true[:, 0].min()].any()),
        volume=_shown(seen, true, ended, table) / _shown(seen, true, np.ones_like(ended), table),
    )


def _reached(halting: Halting, number: int, curve: Sequence[float]) -> int:
    record = TrialRecord(number, str(number), "search", None, {}, {})
    record.history.append(_report("dropin", 0))
    for share, eer in zip(SHARES, curve, strict=True):
        record.history.append(_report("retrain" if share <= SHARES[1] else "consolidate", share, eer))
        if share < SHARES[-1] and halting.halts(record):
            return share
    return SHARES[-1]


def _report(stage: str, share: int, eer: float | None = None) -> Reported:
    step = TRAIN + round((TOTAL - TRAIN) * share / SHARES[-1])
    metrics: dict[str, float | None] = {} if eer is None else {"dev_eer": eer}
    return Reported(trial=0, attempt=1, stage=stage, step=step, steps_total=TOTAL, metrics=metrics)


def _shown(seen: np.ndarray, true: np.ndarray, ended: np.ndarray, table: recorded.Recorded) -> float:
    """True volume of the front that the finished trials show."""
    members = front(seen[ended], recorded.GOALS)
    return hypervolume(true[ended][members], recorded.GOALS, table.reference)


def correlations(table: recorded.Recorded) -> Table:
    """Rank correlation of early and last EERs over the whole space, for each seed."""
    rows: list[list[Cell]] = []
    for at, share in enumerate(SHARES[:-1]):
        found = [
            rank_correlation([table.curve(key, seed)[at] for key in table.keys],
                             [table.value(key, seed)[0] for key in table.keys])
            for seed in table.seeds
        ]  # fmt: skip
        known = [one for one in found if one is not None]
        rows.append([f"{share} %", float(np.mean(known)), min(known), max(known)])
    return Table([("steps after growth", ""), ("mean over seeds", ".2f"), ("lowest", ".2f"), ("highest", ".2f")], rows)


def report(table: recorded.Recorded, runs: int, trials: int) -> Table:
    """Means over runs, by rule and rungs."""
    rows: list[list[Cell]] = []
    for rungs in ((0.25, 0.5), (0.5, 0.75)):
        for rule in RULES:
            found = []
            for run in range(runs):
                rng = np.random.default_rng([run, 31])
                keys = [table.keys[at] for at in rng.choice(len(table.keys), trials, replace=False)]
                seed = table.seeds[run % len(table.seeds)]
                found.append(sweep(table, Halt(kind=rule, rungs=rungs), rule, keys, seed))
            means = [float(np.mean([getattr(one, name) for one in found])) for name in ("halted", "saved", "members")]
            rows.append([rule, ", ".join(f"{rung:g}" for rung in rungs), *means,
                         f"{sum(one.best for one in found)} of {runs}",
                         float(np.mean([one.volume for one in found]))])  # fmt: skip
    return Table([("rule", ""), ("rungs", ""), ("trials stopped", ".0%"), ("steps saved", ".0%"),
                  ("true front's members stopped", ".0%"), ("best stopped", ""), ("true volume left", ".3f")],
                 rows)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    options = parser.parse_args()
    table = recorded.load()
    tables = {"rules": report(table, options.runs, options.trials), "correlation": correlations(table)}
    for one in tables.values():
        print(f"{one.markdown()}\n")
    write("halting", tables)


if __name__ == "__main__":
    main()
