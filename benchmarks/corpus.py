"""How hard the generated corpus is: error rates of tiny networks by difficulty.

    python benchmarks/corpus.py --difficulty 0 0.5 1 --steps 150

Each network trains on 240 clips of 1-2 s (batches of 16 random seconds, AdamW 1e-3) and scores the head of each
of the 160 dev and 160 eval clips. One line per network: EER in percent, seconds of training.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from results import Table, write

from plastsearch.models.build import build
from plastsearch.scores.metrics import eer
from plastsearch.synth.corpus import write_corpus
from plastsearch.training.losses import build_loss

SECOND = 16_000
Split = tuple[list[np.ndarray], np.ndarray]


def read_split(root: Path, split: str) -> Split:
    """The waves and labels (1 = bona fide) of one split of an LA corpus."""
    kind = "trn" if split == "train" else "trl"
    protocol = root / "LA" / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{split}.{kind}.txt"
    rows = [line.split() for line in protocol.read_text().splitlines()]
    folder = root / "LA" / f"ASVspoof2019_LA_{split}" / "flac"
    waves = [soundfile.read(folder / f"{row[1]}.flac", dtype="float32")[0] for row in rows]
    return waves, np.array([row[4] == "bonafide" for row in rows], np.int64)


def crop(waves: list[np.ndarray], rng: np.random.Generator | None) -> torch.Tensor:
    """One second of each, from the head or from anywhere."""
    starts = [0 if rng is None else int(rng.integers(0, len(wave) - SECOND + 1)) for wave in waves]
    return torch.from_numpy(np.stack([wave[at : at + SECOND] for wave, at in zip(waves, starts, strict=True)]))


def train(name: str, data: Split, steps: int, seed: int) -> torch.nn.Module:
    """A tiny network after `steps` steps, learning rate warmed up and lowered along a cosine."""
    waves, labels = data
    network, loss = build(name, "tiny", seed=seed), build_loss("cross_entropy", np.bincount(labels).tolist())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    rng, order = np.random.default_rng(seed), np.array([], int)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = (
            1e-3 * min(1, 10 * (step + 1) / steps) * 0.5 * (1 + np.cos(np.pi * step / steps))
        )
        order = order if len(order) >= 16 else rng.permutation(len(waves))
        batch, order = order[:16], order[16:]
        optimizer.zero_grad()
        loss(network(crop([waves[i] for i in batch], rng)), torch.from_numpy(labels[batch])).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval()


@torch.no_grad()
def error(network: torch.nn.Module, data: Split) -> float:
    """EER in percent on the heads of all clips."""
    waves, labels = data
    logits = torch.cat([network(crop(waves[i : i + 32], None)) for i in range(0, len(waves), 32)])
    scores = (logits[:, 1] - logits[:, 0]).double().numpy()
    return eer(scores[labels == 1], scores[labels == 0])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--difficulty", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    parser.add_argument("--networks", nargs="*", default=["resnet18", "grnn", "wav2vec2"])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for difficulty in options.difficulty:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            write_corpus(Path(folder) / "corpus", "la", options.seed, difficulty=difficulty)
            print(f"difficulty {difficulty}: written in {time.perf_counter() - start:.1f} s")
            splits = {split: read_split(Path(folder) / "corpus", split) for split in ("train", "dev", "eval")}
        for name in options.networks:
            start = time.perf_counter()
            network = train(name, splits["train"], options.steps, options.seed)
            seconds = time.perf_counter() - start
            errors = {split: error(network, data) for split, data in splits.items()}
            shown = "  ".join(f"{split} {value:5.1f} %" for split, value in errors.items())
            print(f"  {name:9s} {shown}  {seconds:.0f} s", flush=True)
            rows.append([difficulty, name, *errors.values(), seconds])
    percent = [(f"{split} EER %", ".1f") for split in ("train", "dev", "eval")]
    write("corpus", {"eer": Table([("difficulty", "g"), ("network", ""), *percent, ("seconds", ".0f")], rows)})


if __name__ == "__main__":
    main()
