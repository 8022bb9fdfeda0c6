"""Whether repeating where it decides pays: one-shot search against `replicate: auto`, at equal cost on recorded trials.

    python benchmarks/noise.py --runs 20 --trials 100

Both arms are the product's own driver rules (proposer, ranking, replication) in a loop without an executor: every run
looks up what that configuration did with that seed in recorded.parquet (docs/recorded.md). Every run of the benchmark
draws its own order of the recorded seeds. What an arm hands its user is judged by true means, over all recorded seeds:
the EER of the trial it chooses, how far the values its front claims are from the true ones, and how far its front lies
from the true front of the whole space (area between both, as a share of what the true front dominates).
"""

import argparse
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import optuna
import recorded
from results import Cell, Table, write
from scipy.stats import wilcoxon

from plastsearch.pareto.front import hypervolume
from plastsearch.pareto.noise import Measured, noise
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.phases import SearchPhase, replication_of
from plastsearch.sweep.planned import PlannedTrial, baseline
from plastsearch.tracking.ranking import Ranking, ranking_of
from plastsearch.tracking.records import TrialRecord

GOALS = ("min", "min")
ARMS = {"one-shot": "none", "replicate: auto": "auto"}


@dataclass(frozen=True)
class Found:
    """What one search hands its user, by the truth."""

    eer: float  # true mean of the trial that controls answer to
    claimed: float  # what the search says of it
    claims: float  # mean distance of the front's claimed EERs from the true ones
    area: float  # between the claimed front and the true front, share of what the true one dominates
    volume: float  # that the front's true values dominate, the same share
    explored: int
    members: int
    certain: int


def search(table: recorded.Recorded, spec: SweepSpec, seed: int) -> Found:
    """One search of so many runs, of whichever kind."""
    space, ranking = open_space(spec), ranking_of(spec.plain())
    study = Study(spec, space, None, [])
    records: dict[int, TrialRecord] = {}
    order = np.random.default_rng([seed, 11]).permutation(np.array(table.seeds))
    phase = SearchPhase(study, lambda found: "trials" if _spent(found) >= spec.search.trials else None,
                        replication_of(spec, ranking))  # fmt: skip
    planned: PlannedTrial | None = baseline(space.base)
    while planned is not None:
        record = _run(table, len(records), planned, order)
        records[record.number] = record
        ranking.note(record)
        if record.role != "replicate":
            study.tell(record)
        else:
            for number, (values, runs) in ranking.revised(records).items():
                study.revise(records[number], values, runs)
        planned = phase.next(len(records), records)
    return _judged(table, ranking, records)


def _spent(records: Mapping[int, TrialRecord]) -> int:
    return sum(one.role in ("search", "replicate") for one in records.values())


def _run(table: recorded.Recorded, number: int, planned: PlannedTrial, order: np.ndarray) -> TrialRecord:
    """Look up what it did: its seed's offset counts through this run's own order of the recorded seeds."""
    metrics = table.metrics(planned.config, int(order[planned.config.seed]))
    return TrialRecord(
        number, planned.config.trial_id(), planned.role, planned.control, dict(planned.params),
        planned.config.model_dump(mode="json", by_alias=True), of=planned.of, seed=planned.seed, state="done",
        metrics=metrics, fidelity=1.0,
    )  # fmt: skip


def _judged(table: recorded.Recorded, ranking: Ranking, records: Mapping[int, TrialRecord]) -> Found:
    searched = [one for one in records.values() if one.role == "search"]
    members = ranking.front(searched)
    claimed = np.array([ranking.values(one) for one in members])
    true = np.array([table.truth(one.trial_config) for one in members])
    whole = hypervolume(table.true_front, GOALS, table.reference)
    both = hypervolume(np.vstack([claimed, table.true_front]), GOALS, table.reference)
    area = 2 * both - whole - hypervolume(claimed, GOALS, table.reference)
    sure = ranking.membership(records.values())
    return Found(
        eer=float(true[0, 0]),
        claimed=float(claimed[0, 0]),
        claims=float(np.abs(claimed[:, 0] - true[:, 0]).mean()),
        area=area / whole,
        volume=hypervolume(true, GOALS, table.reference) / whole,
        explored=len(searched),
        members=len(members),
        certain=sum(sure.get(one.number, 0.0) >= 0.9 for one in members),
    )


def report(results: Mapping[str, list[Found]], table: recorded.Recorded, trials: int) -> dict[str, Table]:
    """Means over runs, and paired tests of repeating against not."""
    names = ("eer", "claims", "area", "volume", "explored", "members", "certain")
    head = [("arm", ""), ("true EER chosen", ".2f"), ("claims off by", ".2f"), ("area to the true front", ".3f"),
            ("true volume", ".3f"), ("explored", ".0f"), ("members", ".1f"), ("certain", ".1f")]  # fmt: skip
    rows: list[list[Cell]] = [
        [arm, *(float(np.mean([getattr(one, name) for one in found])) for name in names)]
        for arm, found in results.items()
    ]
    once, again = results["one-shot"], results["replicate: auto"]
    tests: list[list[Cell]] = []
    for name, words in (("eer", "true EER chosen"), ("claims", "claims off by"), ("area", "area to the true front")):
        gap = np.array([getattr(b, name) - getattr(a, name) for a, b in zip(once, again, strict=True)])
        ratio = float(np.mean([getattr(one, name) for one in again]) / np.mean([getattr(one, name) for one in once]))
        p = float(wilcoxon(gap).pvalue) if gap.any() else 1.0
        tests.append(
            [words, int((gap < 0).sum()), int((gap == 0).sum()), int((gap > 0).sum()), float(gap.mean()), ratio, p]
        )
    columns = [("measure", ""), ("lower", ".0f"), ("equal", ".0f"), ("higher", ".0f"), ("difference", "+.3f"),
               ("ratio of means", ".2f"), ("p", ".2g")]  # fmt: skip
    known = noise([Measured(at, seed, value) for at, seed, value in table.triples("dev_eer")])
    assert known is not None
    spread: list[list[Cell]] = [
        [known.configurations, known.between, known.rest, known.seeds, known.reliability, known.low, known.high, trials]
    ]
    about = [("configurations", ",.0f"), ("between them", ".2f"), ("one run", ".2f"), ("seeds, all alike", ".2f"),
             ("reliability", ".2f"), ("low", ".2f"), ("high", ".2f"), ("runs of a search", ".0f")]  # fmt: skip
    return {"table": Table(about, spread), "arms": Table(head, rows), "tests": Table(columns, tests)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run; the others follow it")
    parser.add_argument("--trials", type=int, default=100, help="runs of one search, repeats counted")
    parser.add_argument("--out", type=Path, help="keep every search's result here, as JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    table = recorded.load()
    results: dict[str, list[Found]] = {arm: [] for arm in ARMS}
    start = time.time()
    for seed in range(options.first, options.first + options.runs):
        for arm, replicate in ARMS.items():
            spec = recorded.space_spec(options.trials, seed)
            asked = spec.search.model_copy(update={"replicate": replicate, "replicate_seeds": len(table.seeds)})
            results[arm].append(search(table, spec.model_copy(update={"search": asked}), seed))
        print(f"run {seed}: {time.time() - start:.0f} s", flush=True)
        if options.out:
            options.out.write_text(json.dumps({arm: [asdict(one) for one in found] for arm, found in results.items()}))
    tables = report(results, table, options.trials)
    for one in tables.values():
        print(f"{one.markdown()}\n")
    write("noise", tables)


if __name__ == "__main__":
    main()
