"""Records every point of a small space with several seeds, through the tool itself: a table to look trials up in.

    python benchmarks/record_table.py start                                  # the pretrained encoder, half a minute
    python benchmarks/record_table.py record --folder recording --seeds 0 1 2 3 4
    python benchmarks/record_table.py write --folder recording               # recorded.parquet, as far as it has come

Every row is a real trial of `plasticity` by `run_trial` with its own seed. Stages that trials share are computed once.
A killed recording goes on where it stood, and several may share a folder, each over seeds of its own. What the table
holds, and what it must not be used for: docs/recorded.md.
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from recorded import BASELINE, CURVE, KEY, METRICS, PERCENT, START, TABLE, Row, all_keys, config_of, key_of, space_spec
from results import cpu_model, versions

from plastsearch.data.corpus import open_corpus
from plastsearch.models.build import from_config, save_pretrained
from plastsearch.models.catalog import Widths
from plastsearch.models.seeding import seeded
from plastsearch.search.space import open_space
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig, SearchDev
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.pretrain import Pretraining, pretrain
from plastsearch.trial.run import run_trial, start

SEEDS = tuple(range(5))
# The wav2vec2 family at its smallest: twelve blocks, so twelve feed-forward sites, of 16 units each.
WIDTHS: Widths = {
    "model_type": "wav2vec2", "hidden_size": 24, "num_hidden_layers": 12, "num_attention_heads": 4,
    "intermediate_size": 16, "conv_dim": [16] * 7, "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "do_stable_layer_norm": True, "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "pooling": "mean", "dropout": 0.0,
}  # fmt: skip
# Other speakers, other clips (seed 1 against 0), and one attack of the six: what the recorded trials have to learn.
PRETRAINING = Pretraining("supervised", steps=800, batch_size=16, length_samples=4000, lr=2e-3)
UNSEEN = ("A02", "A03", "A04", "A05", "A06")


def make_start(folder: Path, cache: Path) -> None:
    """The encoder that all trials start from, pretrained by the tool on a corpus that differs from the recorded one."""
    data = DataConfig(seed=1, clips=1200, search_dev=SearchDev(policy="held_out_attacks", attacks=UNSEEN))
    with tempfile.TemporaryDirectory() as draft:
        with seeded(0):
            save_pretrained(from_config(WIDTHS), Path(draft))
        blank = ModelConfig.model_validate({"name": "wav2vec2", "from": draft})
        for found in pretrain(blank, open_corpus(data, cache).train, PRETRAINING, folder, torch.device("cpu")):
            print(", ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    record = folder / "pretraining.json"  # without the draft's name, which is nobody's
    written = json.loads(record.read_text())
    written["plan"]["model"] = {**written["plan"]["model"], "from": None}
    record.write_text(json.dumps(written, indent=2) + "\n")


def settings(folder: Path) -> RunSettings:
    """Where trials keep their stages; timings wait for nobody, since the clock is the CPU time of the thread."""
    return RunSettings(
        store=folder / "store", cache=folder / "cache", device="cpu", exclusive_timing=False, data_progress=False
    )


def measured(config: TrialConfig, where: RunSettings) -> Row:
    """One trial from start to end, as a row of the table."""
    began, cpu = time.monotonic(), time.process_time()
    *_, final = run_trial(config, where)
    row: Row = dict(zip(KEY, (*key_of(config), config.seed), strict=True))
    row |= {name: final.metrics.get(name) for name in METRICS}
    row |= early(config, where)
    return row | {"seconds": round(time.monotonic() - began, 3), "cpu_seconds": round(time.process_time() - cpu, 3)}


def early(config: TrialConfig, where: RunSettings) -> dict[str, float | None]:
    """Dev EERs on the way, by the share of the steps after growth that were done, as they were evaluated.

    From the records of the stages, since a stage that another trial computed reports nothing but its end.
    """
    trial = start(config, where, lambda: False)
    after = sum(stage.steps for stage in trial.stages if stage.name != "train")
    found: dict[str, float | None] = dict.fromkeys(CURVE)
    done = 0
    for stage, key in zip(trial.stages, trial.keys, strict=True):
        if not stage.steps or stage.name == "train":
            continue
        record = trial.context.store.find(key.key)
        assert record is not None
        for step, _, eer, _ in record.details["history"]:
            name = PERCENT.format(round(100 * (done + step) / after))
            if step and name in found:  # step 0 is what came in
                found[name] = eer
        done += stage.steps
    return found


def asked(seed: int) -> Iterator[TrialConfig]:
    """The baseline of a seed, then every point of the space with that seed."""
    yield config_of(None, seed)
    for point in open_space(space_spec()).points():
        yield config_of(point, seed)


def record(folder: Path, seeds: list[int], limit: int | None) -> None:
    """Run what is not recorded yet, and write each trial down as soon as it is over."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"seed-{seed}.jsonl"
        known = {tuple(row[name] for name in KEY) for row in lines(path)}
        if path.exists() and not path.read_text().endswith("\n"):
            path.write_text(path.read_text() + "\n")  # a kill in the midst of a line: the next one starts afresh
        where = settings(folder / f"seed-{seed}").model_copy(update={"cache": folder / "cache"})
        began, count = time.monotonic(), 0
        for config in list(asked(seed))[:limit]:
            if (*key_of(config), config.seed) in known:
                continue
            row = measured(config, where)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            count += 1
            if count % 20 == 0:
                pace = (time.monotonic() - began) / count
                print(f"seed {seed}: {len(known) + count} rows, {pace:.2f} s each", flush=True)
        if limit is None:
            shutil.rmtree(folder / f"seed-{seed}", ignore_errors=True)  # its stages are of no use to another seed


def lines(path: Path) -> list[Row]:
    """The rows of a file; a line that a kill cut short is not one."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def write(folder: Path, out: Path) -> int:
    """The table of all seeds that are complete, with what made it."""
    rows = [row for path in sorted(folder.glob("seed-*.jsonl")) for row in lines(path)]
    rows = list({tuple(row[name] for name in KEY): row for row in rows}.values())
    wanted = {BASELINE, *all_keys()}
    found = {seed: {tuple(row[name] for name in KEY[:-1]) for row in rows if row["seed"] == seed} for seed in SEEDS}
    rows = [row for row in rows if wanted <= found[row["seed"]] and tuple(row[name] for name in KEY[:-1]) in wanted]
    rows.sort(key=lambda row: (row["seed"], row["layers"].count(","), row["layers"], row["neurons"],
                               row["criterion"], row["regime"]))  # fmt: skip
    sweep = space_spec().plain()
    model: Any = sweep["base"]["model"]  # type: ignore[index,call-overload]
    model["from"] = START.name  # beside the table, wherever that lies
    notes = {
        "command": "python benchmarks/record_table.py record --folder FOLDER",
        "sweep": json.dumps(sweep),
        "versions": json.dumps(versions()),
        "machine": f"{cpu_model()}, {platform.system()}, one thread",
        "start": json.dumps(json.loads((START / "pretraining.json").read_text())["plan"]),
    }
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(notes), out, compression="zstd")
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["start", "record", "write"])
    parser.add_argument("--folder", type=Path, default=Path("recording"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--only", type=int, help="rows per seed of a rehearsal")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "start":
        make_start(START, options.folder / "cache")
    elif options.what == "record":
        record(options.folder, options.seeds, options.only)
    else:
        print(f"{write(options.folder, options.out)} rows, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
