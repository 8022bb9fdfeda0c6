"""Whether w2v_layers.yaml answers its question: how far its trials differ by configuration, and how far by luck.

    for seed in 0 1 2; do plastsearch sweep search_spaces/w2v_layers.yaml --name seed$seed --seed $seed; done
    plastsearch noise search_spaces/w2v_layers.yaml --name within -k 16 --seeds 3
    python benchmarks/pretrained_sweep.py plastsearch-runs/seed{0,1,2} --noise plastsearch-runs/within

Reads folders of sweeps, and runs nothing. Reliability of a sweep is the one that the tool prints: finalists are further
seeds of their trials. Within one regime too few trials of a sweep run twice, so that is read off the runs of `noise`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from results import Table, write

from plastsearch.pareto.noise import Noise
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import TrialRecord, trials
from plastsearch.tracking.replicates import noise_of

METRIC = "dev_eer"
REGIMES = ("frozen", "unfrozen")


def main() -> None:
    """Print the tables and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", type=Path, nargs="+", help="folders of its sweeps, run with other seeds")
    parser.add_argument("--noise", type=Path, help="folder of `plastsearch noise` over the same space")
    given = parser.parse_args()
    found = {folder.name: records_of(folder) for folder in given.sweeps}
    tables = {"sweeps": sweeps(found)}
    if given.noise:
        tables["within"] = within(records_of(given.noise))
    for table in tables.values():
        print(f"{table.markdown()}\n")
    write("pretrained_sweep", tables)


def records_of(folder: Path) -> list[TrialRecord]:
    """The trials of a sweep that ended well."""
    return [record for record in trials(read(folder)).values() if record.state == "done"]


def sweeps(found: dict[str, Sequence[TrialRecord]]) -> Table:
    """One row for each sweep."""
    columns = [
        ("sweep", ""), ("trials", "d"), ("different EERs", "d"), ("lowest %", ".2f"), ("highest %", ".2f"),
        ("frozen from", ".2f"), ("to", ".2f"), ("unfrozen from", ".2f"), ("to ", ".2f"), ("baseline", ".2f"),
        ("reliability", ".2f"), ("from ", ".2f"), ("to  ", ".2f"), ("one run, points", ".2f"),
    ]  # fmt: skip
    return Table(columns, [_sweep(name, records) for name, records in found.items()])


def _sweep(name: str, records: Sequence[TrialRecord]) -> list[float | str | None]:
    searched = [one for one in records if one.role == "search"]
    errors = np.array([one.metrics[METRIC] for one in searched])
    ranges: list[float | None] = []
    for regime in REGIMES:
        some = [one.metrics[METRIC] for one in searched if one.trial_config.regime == regime]
        ranges += [min(some), max(some)] if some else [None, None]
    baseline = [one.metrics[METRIC] for one in records if one.control == "baseline" and one.role == "control"]
    seen = [len(searched), len({round(float(error), 6) for error in errors}), float(errors.min()), float(errors.max())]
    return [name, *seen, *ranges, baseline[0] if baseline else None, *_reliability(noise_of(records, METRIC))]


def _reliability(noise: Noise | None) -> list[float | None]:
    return [None] * 4 if noise is None else [noise.reliability, noise.low, noise.high, noise.rest]


def within(records: Sequence[TrialRecord]) -> Table:
    """Reliability of all configurations that ran with several seeds, and of those of one regime."""
    columns = [
        ("configurations", ""), ("how many", "d"), ("runs", "d"), ("mean EER %", ".2f"),
        ("between configurations", ".2f"), ("seeds, all alike", ".2f"),
        ("reliability", ".2f"), ("from", ".2f"), ("to", ".2f"), ("one run", ".2f"),
    ]  # fmt: skip
    rows: list[list[float | str | None]] = []
    for regime in (None, *REGIMES):
        some = [one for one in records if regime in (None, one.trial_config.regime) or one.role == "control"]
        noise = noise_of(some, METRIC)
        if noise is not None:
            mean = float(np.mean([one.metrics[METRIC] for one in some if one.role != "control"]))
            head: list[float | str | None] = [regime or "all", noise.configurations, noise.runs, mean]
            rows.append([*head, noise.between, noise.seeds, *_reliability(noise)])
    return Table(columns, rows)


if __name__ == "__main__":
    main()
