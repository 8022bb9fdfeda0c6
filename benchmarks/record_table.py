"""Records an exhaustive small sweep through the tool itself, for benchmarks/search.py to look trials up in.

    python benchmarks/record_table.py --folder /tmp/recorded      # 43 minutes on two busy cores; resumes
    python benchmarks/record_table.py --folder /tmp/rehearsal --only 10 --out /tmp/rehearsal.parquet

Every trial is a real one: a tiny ResNet18 on generated speech, all 63 subsets of the six blocks of its first three
stages × neurons × criteria, and the baseline of the same length. Stages that trials share are computed once.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from results import Table
from results import write as write_results

from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.session import Options, run_sweep
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import TrialRecord, trials

TABLE = Path(__file__).with_name("recorded.parquet")
NAME = "recorded"
SITES = 6
NEURONS = [16, 64]
CRITERIA = ["taylor", "magnitude"]
COMBINATIONS = (2**SITES - 1) * len(NEURONS) * len(CRITERIA)
METRICS = ("dev_eer", "dev_eer_grown", "dev_eer_pruned", "backward_gflop", "backward_ratio", "params_total")


def spec(trials: int, seed: int, sampler: str, anchors: bool = True) -> SweepSpec:
    """The sweep that was recorded, or a search of the same space."""
    return SweepSpec.model_validate(
        {
            "name": NAME,
            "base": {
                "method": "plasticity",
                "model": {"name": "resnet18", "preset": "tiny"},
                "data": {"corpus": "synthetic", "clips": 720, "length_samples": 8000},
                # A baseline that has learnt something but not all, and then time enough for growth to matter.
                "train": {
                    "steps": 240,
                    "batch_size": 16,
                    "lr": 3e-3,
                    "shares": {"train": 0.4, "retrain": 0.4, "consolidate": 0.2},
                    "lr_ratios": {"train": 1.0, "retrain": 1.0, "consolidate": 0.5},
                },
                "keep": 0.5,
                "calibration_clips": 32,
                "timing_batch": 4,
                "timing_steps": 3,
            },
            "space": {
                "layers": {"kind": "subset", "of": "layer{1..3}.*", "min": 1},
                "neurons": {"kind": "choice", "of": NEURONS},
                "criterion": {"kind": "choice", "of": CRITERIA},
            },
            "objectives": [{"metric": "dev_eer"}, {"metric": "backward_gflop"}],
            "controls": ["baseline"],
            "finalists": {"top": 0},
            "search": {"trials": trials, "seed": seed, "sampler": sampler, "anchors": anchors},
        }
    )


def row(record: TrialRecord) -> dict[str, Any]:
    """One line of the table; the baseline's has no layers."""
    baseline = record.role == "control"
    found: dict[str, Any] = {
        "layers": "" if baseline else ",".join(record.config["layers"]),
        "neurons": 0 if baseline else int(record.config["neurons"]),
        "criterion": "" if baseline else record.config["criterion"],
    }
    return {**found, **{name: record.metrics.get(name) for name in METRICS}, "seconds": round(record.seconds, 2)}


def write(records: list[TrialRecord], asked: SweepSpec, path: Path) -> int:
    """The table of all finished trials, with what made it."""
    rows = [row(one) for one in records if one.state == "done"]
    rows.sort(key=lambda one: (one["layers"].count(","), one["layers"], one["neurons"], one["criterion"]))
    notes = {"command": "python benchmarks/record_table.py --folder FOLDER", "sweep": json.dumps(asked.plain())}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(notes), path)
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the sweep is kept; it is resumed from there")
    parser.add_argument("--only", type=int, default=COMBINATIONS, help="trials of a rehearsal")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--executor", default="tune")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    asked = spec(options.only, 0, "grid")
    asked = asked.model_copy(update={"search": asked.search.model_copy(update={"parallel": options.parallel})})
    start = time.time()
    resume = (options.folder / NAME).exists()
    where = Options(root=options.folder, executor=options.executor, resume=resume, finalists=False)
    outcome = run_sweep(asked, where, lambda folder, view: [])  # noqa: ARG005
    count = write(list(trials(read(outcome.folder)).values()), asked, options.out)
    seconds = time.time() - start
    columns = [("status", ""), ("trials", ".0f"), ("seconds", ".0f"), ("bytes", ".0f")]
    write_results(
        "record_table", {"sweep": Table(columns, [[outcome.status, count, seconds, options.out.stat().st_size]])}
    )
    print(f"{outcome.status}: {count} trials, {seconds:.0f} s, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
