"""Loads the folder this file lies in and scores clips: `python detector.py clip.wav`, or `load('.').score('clip.wav')`.

The network and what it needs stand above; `config.json` says its shape, `model.safetensors` holds its weights.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.export.portable.clips import AGGREGATIONS, aggregate, cut, starts
from plastsearch.export.portable.cnn import CNN
from plastsearch.export.portable.conformer import Conformer
from plastsearch.export.portable.encoder import Encoder
from plastsearch.export.portable.grnn import GRNN
from plastsearch.export.portable.lcnn import LCNN
from plastsearch.export.portable.resnet18 import ResNet18
from plastsearch.export.portable.sound import at_rate, read_wave
from plastsearch.export.portable.weights import read_tensors

NETWORKS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "cnn": CNN,
    "conformer": Conformer,
    "encoder": Encoder,
    "grnn": GRNN,
    "lcnn": LCNN,
    "resnet18": ResNet18,
}
BATCH = 32  # windows


@dataclass(frozen=True)
class Window:
    """One stretch of a clip."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class ClipScore:
    """What the model says of one clip: higher is bona fide; a log-likelihood ratio if the model is calibrated."""

    score: float
    probability: float  # of bona fide speech, at the prior that was asked for
    bona_fide: bool
    windows: tuple[Window, ...]

    def __float__(self) -> float:
        return self.score


class Detector:
    """A network with what scoring needs beside it; made by `load`."""

    def __init__(self, network: nn.Module, config: dict[str, Any], device: str) -> None:
        self.network = network.to(device).eval()
        self.config = config
        self.device = device
        self.rate_hz = int(config["rate_hz"])
        self.window = int(config["length_samples"])

    def score(
        self,
        audio: str | Path | Tensor,
        rate_hz: int | None = None,
        *,
        prior: float = 0.5,
        threshold: float | None = None,
        hop_s: float = 1.0,
        aggregation: str = "mean",
    ) -> ClipScore:
        """Score one clip: a file, or one row of samples between -1 and 1 with their rate."""
        if not 0 < prior < 1 or aggregation not in AGGREGATIONS:
            raise ValueError(f"a prior lies between 0 and 1, and scores are put together by {', '.join(AGGREGATIONS)}")
        if isinstance(audio, Tensor):
            wave = at_rate(audio.float().reshape(-1), rate_hz or self.rate_hz, self.rate_hz, "float32")
        else:
            wave = read_wave(audio, self.rate_hz, self.config["storage"])
        at = starts(len(wave), self.window, max(1, round(hop_s * self.rate_hz)))
        at = at[:1] if aggregation == "first" else at
        scores = self.scores([cut(wave, start, self.window) for start in at])
        windows = tuple(
            Window(start / self.rate_hz, min(start + self.window, len(wave)) / self.rate_hz, float(score))
            for start, score in zip(at, scores, strict=True)
        )
        odds = math.log(prior / (1 - prior))
        score = aggregate(scores, aggregation)
        probability = 1 / (1 + math.exp(-score - odds)) if score + odds > -700 else 0.0
        limit = self.threshold(odds) if threshold is None else threshold
        return ClipScore(score, probability, score >= limit, windows)

    def score_many(self, audio: Iterable[str | Path], **options: Any) -> Iterator[ClipScore]:
        """Score one file after the other, in their order."""
        return (self.score(one, **options) for one in audio)

    def threshold(self, odds: float = 0.0) -> float:
        """Where decisions change: Bayes' for equal costs if calibrated, else where errors were equal in development."""
        own = self.config["threshold"]
        return float(-odds if self.config["calibration"] is not None or own is None else own)

    @torch.inference_mode()
    def scores(self, windows: list[Tensor]) -> Tensor:
        """A score for each window of the model's own length."""
        found = [torch.zeros(0, dtype=torch.float64)]
        for first in range(0, len(windows), BATCH):
            logits_BC = self.network(torch.stack(windows[first : first + BATCH]).to(self.device)).float()
            found.append((logits_BC[:, 1] - logits_BC[:, 0]).double().cpu())
        plain = torch.cat(found)
        calibration = self.config["calibration"]
        return plain if calibration is None else calibration["slope"] * plain + calibration["offset"]


def load(folder: str | Path = Path(__file__).parent, device: str = "cpu") -> Detector:
    """The model of a folder, read as plain numbers: nothing in `config.json` or the weights can run."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["detector"]
    network = NETWORKS[config["shape"]["network"]](config["shape"])
    network.load_state_dict(read_tensors(Path(folder) / "model.safetensors"))
    kept = Path(folder) / "calibration.json"  # one that was learnt later counts
    if kept.is_file():
        config["calibration"] = json.loads(kept.read_text(encoding="utf-8"))
    return Detector(network, config, device)


def main() -> int:
    """Score the files named on the command line; 1 if some could not be read."""
    parser = argparse.ArgumentParser(description="Score clips: higher is bona fide speech, lower a spoof.")
    parser.add_argument("clips", nargs="+", metavar="CLIP")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prior", type=float, default=0.5, help="probability of bona fide speech beforehand")
    parser.add_argument("--threshold", type=float, help="else the model's own")
    parser.add_argument("--hop", type=float, default=1.0, help="seconds between windows of a long clip")
    parser.add_argument("--aggregation", choices=AGGREGATIONS, default="mean")
    parser.add_argument("--timeline", action="store_true", help="every window, too")
    asked = parser.parse_args()
    detector = load(device=asked.device)
    failed = 0
    sys.stdout.write("score\tprobability\tdecision\tclip\n")
    for clip in asked.clips:
        try:
            found = detector.score(
                clip, prior=asked.prior, threshold=asked.threshold, hop_s=asked.hop, aggregation=asked.aggregation
            )
        except (OSError, ValueError, RuntimeError) as error:
            sys.stderr.write(f"{clip}: {error}\n")
            failed += 1
            continue
        decision = "bonafide" if found.bona_fide else "spoof"
        sys.stdout.write(f"{found.score:.6f}\t{found.probability:.6f}\t{decision}\t{clip}\n")
        for window in found.windows if asked.timeline else ():
            sys.stdout.write(f"  {window.start_s:.2f} to {window.end_s:.2f} s\t{window.score:.6f}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
