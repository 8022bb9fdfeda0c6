"""Networks of every kind with irregular widths and weights that matter, as models ready to export."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plastsearch import growth
from plastsearch.audio import write_audio
from plastsearch.growth.checkpoint import plan_of
from plastsearch.models.build import build, from_config
from plastsearch.models.detector import Detector
from plastsearch.use.facts import Calibration, Facts
from plastsearch.use.model import Model

RATE_HZ = 16_000
WINDOW = 9_600


def encoder(kind: str, layers: int = 2, **changes: object) -> Detector:
    """A tiny encoder of a family, from the keys of its transformers config."""
    widths: Any = {
        "model_type": kind, "hidden_size": 24, "num_hidden_layers": layers, "num_attention_heads": 4,
        "intermediate_size": 32, "conv_dim": [8] * 7, "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
        "pooling": "mean", "dropout": 0.0, "normalize": True, **changes,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return from_config(widths)


def grown(detector: Detector, added: Mapping[str, int], operator: str = "widen", seed: int = 1) -> Detector:
    """The network with neurons added, folded where that can be, every weight and statistic drawn anew."""
    if added:
        growth.add_neurons_(detector, dict(added), operator=operator, generator=torch.Generator().manual_seed(seed))
        if operator == "widen":
            growth.fold_(detector, verify=False)
    return stirred(detector, seed)


def ringed(detector: Detector, kernels: Mapping[str, int]) -> Detector:
    """The network with larger kernels, folded, every weight and statistic drawn anew."""
    growth.grow_kernels_(detector, dict(kernels))
    growth.fold_(detector, verify=False)
    return stirred(detector)


def stirred(detector: Detector, seed: int = 1) -> Detector:
    """Weights that no layer can hide: zeros and ones of a fresh network would let mistakes pass."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in detector.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draws)
            tensor.copy_(noise.square() + 0.5 if name.endswith("running_var") else tensor + 0.1 * noise)
    return detector.eval()


def model_of(detector: Detector, calibrated: bool = False, length: int = WINDOW, **facts: Any) -> Model:
    """A model around a network, with the facts that scoring needs."""
    calibration = None
    if calibrated:
        calibration = Calibration(slope=1.7, offset=-0.4, learnt_on="ten clips", bona_fide=5, spoofed=5)
    plain = {
        "name": "made:1", "network": json.loads(json.dumps(detector.plain_config())),
        "growth": json.loads(plan_of(detector).to_json()), "rate_hz": RATE_HZ, "length_samples": length,
        "threshold": 0.25, **facts,
    }  # fmt: skip
    return Model(detector, Facts(**plain, calibration=calibration), torch.device("cpu"))


def clips_in(folder: Path) -> list[Path]:
    """A clip that is shorter than a window, one of its length, a long one, a stereo one at another rate."""
    draws = np.random.default_rng(5)
    found = []
    for name, samples, rate_hz in (("short", 3_000, RATE_HZ), ("exact", WINDOW, RATE_HZ), ("long", 43_210, RATE_HZ)):
        wave = np.cumsum(draws.standard_normal(samples)) * 0.002
        write_audio(folder / f"{name}.wav", np.clip(wave, -1, 1), rate_hz)
        found.append(folder / f"{name}.wav")
    both = np.clip(draws.standard_normal((30_000, 2)) * 0.4, -1, 1)
    write_audio(folder / "stereo.wav", both, 44_100)
    return [*found, folder / "stereo.wav"]


def built(name: str, **choices: Any) -> Detector:
    """One of our own tiny networks."""
    return build(name, "tiny", seed=2, **choices)
