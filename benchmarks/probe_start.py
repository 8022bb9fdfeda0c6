"""What each layer of a pretrained encoder still holds: small networks on its frozen states, trained on a sweep's clips.

    python benchmarks/probe_start.py search_spaces/w2v_layers.yaml     # the encoder and the clips of its trials

Read by a linear layer, and by new units for each frame, of which mean and deviation over frames are judged: what
neurons could find there. Training and dev alone are read; three seeds.
"""

import argparse
from pathlib import Path
from statistics import mean

import torch
from results import Table, write
from torch import Tensor, nn

from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_corpus
from plastsearch.models.build import build
from plastsearch.models.detector import Detector
from plastsearch.scores.metrics import eer
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.load import load_sweep

UNITS = (0, 32, 256)  # 0: linear
STEPS, BATCH, RATE = 300, 64, 3e-3
AT_ONCE = 250


class Probe(nn.Module):
    """Units for each frame, mean and deviation over frames, two logits."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.units = nn.Sequential(nn.Linear(features, units), nn.GELU()) if units else nn.Identity()
        self.judge = nn.Linear(2 * (units or features), 2)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        hidden = self.units(self.norm(frames_BTD))
        logits_BC: Tensor = self.judge(torch.cat([hidden.mean(1), hidden.std(1)], 1))
        return logits_BC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("plastsearch-runs/cache"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_sweep(options.space).base
    corpus = open_corpus(config.data, options.cache)
    module = network(config).eval()
    train, dev = (states(module, clips, config.data.length_samples) for clips in (corpus.train, corpus.search_dev))
    labels = torch.as_tensor(corpus.train.labels).long()
    rows: list[list[float | str | None]] = []
    for cut, kept in train.items():
        found = [
            mean(error(kept, labels, dev[cut], corpus.search_dev, units, seed) for seed in range(options.seeds))
            for units in UNITS
        ]
        rows.append([f"below {cut}", *found])
    columns = [("states", ""), ("linear", ".1f"), *((f"{units} units", ".1f") for units in UNITS[1:])]
    table = Table(columns, rows)
    print(table.markdown())
    write("probe_start", {"layers": table})


def network(config: TrialConfig) -> Detector:
    """The encoder as trials begin with it."""
    model = config.model
    return build(source=model.from_, rate_hz=config.data.rate_hz, seed=0, **model.model_dump(exclude={"from_"}))


def states(module: Detector, clips: ClipSet, length: int) -> dict[str, Tensor]:
    """By cut, what the layers above it read of every clip."""
    found: dict[str, list[Tensor]] = {cut: [] for cut in module.cuts()}
    with torch.no_grad():
        for first in range(0, len(clips), AT_ONCE):
            rows = torch.arange(first, min(first + AT_ONCE, len(clips))).numpy()
            wave_BT = torch.from_numpy(clips.batch(rows, length))
            for cut, parts in found.items():
                parts.append(module.prefix(wave_BT, cut))
    return {cut: torch.cat(parts) for cut, parts in found.items()}


def error(kept: Tensor, labels: Tensor, dev: Tensor, clips: ClipSet, units: int, seed: int) -> float:
    """Dev EER, in percent, of a probe that was trained."""
    torch.manual_seed(seed)
    probe = Probe(kept.shape[-1], units)
    optimizer = torch.optim.AdamW(probe.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    weights = len(labels) / (2 * torch.bincount(labels))
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (BATCH,))
        loss = nn.functional.cross_entropy(probe(kept[rows]), labels[rows], weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        logits = probe(dev)
    scores = (logits[:, 1] - logits[:, 0]).numpy()
    bona = clips.labels == 1
    return eer(scores[bona], scores[~bona])[0]


if __name__ == "__main__":
    main()
