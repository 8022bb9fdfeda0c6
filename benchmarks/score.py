"""How fast clips are scored: how much of the time is the network's, how many times real time, and against transformers.

    python benchmarks/score.py --clips 120 --rounds 3

Clips of 4 s at 16 kHz as FLAC. `score` is what the command runs (threads that read, batches over files); it alternates
with transformers' `pipeline("audio-classification")`, which gets the same files and the same weights, in turns. There
both have one core, where no core can wait for another; what a pipeline gets out of more is at most as many times that.
The pipeline is given decoded samples, for on its own it starts a program for each file; with batch 1, its default, and
with the batch that `score` takes. Its network is the detector's own encoder under transformers' mean pooling and a
linear layer, whose logits are checked to be those of `score`.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from results import Cell, Table, write

from plastsearch.audio import write_audio
from plastsearch.growth.checkpoint import plan_of
from plastsearch.models.build import build
from plastsearch.use import scoring
from plastsearch.use.facts import Facts
from plastsearch.use.model import Model
from plastsearch.use.scoring import How, batch_of, hear_all

RATE_HZ, CLIP_S = 16_000, 4.0


def clips_in(folder: Path, count: int) -> list[str]:
    """Noise with an envelope, each clip another."""
    rng = np.random.default_rng(0)
    paths = []
    for n in range(count):
        wave = (
            0.1 * rng.standard_normal(int(CLIP_S * RATE_HZ)) * np.abs(np.sin(np.arange(int(CLIP_S * RATE_HZ)) / 3000))
        )
        paths.append(str(folder / f"clip{n:05d}.flac"))
        write_audio(Path(paths[-1]), wave, RATE_HZ)
    return paths


def model_of(name: str, preset: str) -> Model:
    """A detector with random weights, whose window is the clips' length."""
    detector = build(name, preset).eval()
    facts = Facts(
        name=f"{name} {preset}", network=json.loads(json.dumps(detector.plain_config())),
        growth=json.loads(plan_of(detector).to_json()), rate_hz=RATE_HZ, length_samples=int(CLIP_S * RATE_HZ),
    )  # fmt: skip
    return Model(detector, facts, torch.device("cpu"))


def scored(model: Model, paths: Sequence[str]) -> tuple[list[float], float]:
    """A score for each file, and the seconds that each core spent in the network."""
    cores = scoring.usable_cores()
    spent = 0.0
    raw = model.raw
    lock = threading.Lock()

    def timed(wave_BT: torch.Tensor) -> torch.Tensor:
        nonlocal spent
        start = time.perf_counter()
        found = raw(wave_BT)
        with lock:
            spent += time.perf_counter() - start
        return found

    vars(model)["raw"] = timed
    try:
        found = [heard.scores[0] for block in hear_all(model, paths, How()) for heard in block]
    finally:
        del vars(model)["raw"]
    return found, spent / cores


def pipeline_of(model: Model) -> Any:
    """transformers' pipeline on the same weights."""
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, pipeline
    from transformers.utils import logging

    logging.set_verbosity_error()
    detector: Any = model.detector
    config = detector.backbone.config
    config.num_labels, config.classifier_proj_size, config.use_weighted_layer_sum = 2, config.hidden_size, False
    twin = Wav2Vec2ForSequenceClassification(config).eval()
    twin.wav2vec2.load_state_dict(detector.backbone.state_dict(), strict=False)
    with torch.no_grad():  # its projection has no counterpart here
        twin.projector.weight.copy_(torch.eye(config.hidden_size))
        twin.projector.bias.zero_()
        twin.classifier.load_state_dict(detector.head.state_dict())
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE_HZ, do_normalize=detector.normalize)
    return pipeline("audio-classification", model=twin, feature_extractor=extractor, device="cpu")


def piped(pipe: Any, paths: Sequence[str], batch: int) -> list[float]:
    """The same scores by way of the pipeline."""

    def samples() -> Iterator[dict[str, object]]:
        for path in paths:
            wave, rate_hz = soundfile.read(path, dtype="float32")
            yield {"raw": wave, "sampling_rate": rate_hz}

    found = []
    for answer in pipe(samples(), batch_size=batch, function_to_apply="none"):
        of = {one["label"]: one["score"] for one in answer}
        found.append(of["LABEL_1"] - of["LABEL_0"])
    return found


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def against_pipeline(preset: str, paths: Sequence[str], rounds: int) -> list[list[Cell]]:
    """A B C A B C …: `score`, the pipeline by one clip, the pipeline by batches; medians."""
    model = model_of("wav2vec2", preset)
    pipe = pipeline_of(model)
    batch = batch_of(model, How())
    few = paths[: 2 * batch]
    ours, theirs = np.array(scored(model, few)[0]), np.array(piped(pipe, few, 1))
    off = float(np.abs(ours - theirs).max())
    times: dict[str, list[tuple[float, float]]] = {"score": [], "1": [], str(batch): []}
    shares = []
    for _ in range(rounds):
        spent: list[float] = []
        times["score"].append(clocked(lambda: spent.append(scored(model, paths)[1])))  # noqa: B023
        shares.append(spent[0] / times["score"][-1][0])
        times["1"].append(clocked(lambda: piped(pipe, paths, 1)))
        times[str(batch)].append(clocked(lambda: piped(pipe, paths, batch)))
    seconds = len(paths) * CLIP_S
    rows: list[list[Cell]] = []
    for kind, label in (("score", f"score (batch {batch})"), ("1", "pipeline, batch 1"),
                        (str(batch), f"pipeline, batch {batch}")):  # fmt: skip
        wall, cpu = (statistics.median(one[n] for one in times[kind]) for n in (0, 1))
        ratios = [(b[0] / a[0], b[1] / a[1]) for a, b in zip(times["score"], times[kind], strict=True)]
        rows.append([
            preset, label, len(paths), 1000 * wall / len(paths), 1000 * cpu / len(paths), seconds / wall,
            statistics.median(shares) if kind == "score" else None,
            None if kind == "score" else statistics.median(one[0] for one in ratios),
            None if kind == "score" else statistics.median(one[1] for one in ratios),
            None if kind == "score" else off,
        ])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def tiny(name: str, preset: str, paths: Sequence[str], rounds: int) -> list[Cell]:
    """One network: times real time, share of the network, CPU."""
    model = model_of(name, preset)
    scored(model, paths[:16])
    runs = []
    for _ in range(rounds):
        spent: list[float] = []
        wall, cpu = clocked(lambda: spent.append(scored(model, paths)[1]))  # noqa: B023
        runs.append((wall, cpu, spent[0] / wall))
    wall, cpu, share = (statistics.median(one[n] for one in runs) for n in range(3))
    seconds = len(paths) * CLIP_S
    possible = seconds / cpu * scoring.usable_cores()
    row: list[Cell] = [f"{name} {preset}", len(paths), seconds / wall, possible,
                       1000 * wall / len(paths), 1000 * cpu / len(paths), share]  # fmt: skip
    print(row, flush=True)
    return row


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=120, help="of the base encoder; tiny ones get eight times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--presets", nargs="*", default=["tiny", "base"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.cores)
    with tempfile.TemporaryDirectory() as folder:
        paths = clips_in(Path(folder), 8 * asked.clips)
        kinds = (("wav2vec2", "tiny"), ("grnn", "tiny"), ("resnet18", "tiny"), ("wav2vec2", "base"))
        rows = [tiny(name, preset, paths if preset == "tiny" else paths[: 2 * asked.clips], asked.rounds)
                for name, preset in kinds]  # fmt: skip
        torch.set_num_threads(1)
        scoring.usable_cores = lambda: 1
        sides: list[list[Cell]] = []
        for preset in asked.presets:
            sides += against_pipeline(preset, paths[: asked.clips * (8 if preset == "tiny" else 1)], asked.rounds)
    columns = [("network", ""), ("clips", ",.0f"), ("× real time", ",.0f"), ("by CPU time, all cores", ",.0f"),
               ("ms per clip", ".2f"), ("CPU ms per clip", ".2f"), ("share in the network", ".0%")]  # fmt: skip
    beside = [("encoder", ""), ("by", ""), ("clips", ",.0f"), ("ms per clip", ",.1f"), ("CPU ms per clip", ",.1f"),
              ("× real time", ",.0f"), ("share in the network", ".0%"), ("time / score's", ".2f"),
              ("CPU / score's", ".2f"), ("scores differ by", ".1e")]  # fmt: skip
    tables = {"networks": Table(columns, rows), "pipeline": Table(beside, sides)}
    write("score", tables, device=f"CPU, {asked.cores} threads")


if __name__ == "__main__":
    main()
