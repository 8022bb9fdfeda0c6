"""What each training-time change costs, against forward passes of the tiny networks, for 16 clips of 64,600 samples.

`python benchmarks/augment.py [rounds]` times everything in turns, in CPU seconds of one thread.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from results import Table, write

from plastsearch.augment.changes import build_augment
from plastsearch.augment.names import CHANGES
from plastsearch.models.build import build

RATE_HZ = 16_000
CLIPS, LENGTH = 16, 64_600
NETWORKS = ("resnet18", "grnn", "wav2vec2")


def speech_like() -> torch.Tensor:
    """Noise whose spectrum falls and whose level comes and goes."""
    noise = torch.randn(CLIPS, LENGTH, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(noise) / torch.fft.rfftfreq(LENGTH, 1 / RATE_HZ).clamp_min(100)
    wave_BT = torch.fft.irfft(spectrum, LENGTH)
    wave_BT *= 0.55 + 0.45 * torch.sin(2 * torch.pi * 3 * torch.arange(LENGTH) / RATE_HZ)
    return 0.4 * wave_BT / wave_BT.abs().amax(1, keepdim=True)


def write_folders(root: Path) -> None:
    """A minute of noise in six files, and three rooms."""
    rng = np.random.default_rng(0)
    for folder in ("noise", "rooms"):
        (root / folder).mkdir()
    for i in range(6):
        soundfile.write(root / "noise" / f"{i}.flac", 0.1 * rng.standard_normal(10 * RATE_HZ), RATE_HZ)
    for i in range(3):
        decay = np.exp(-np.arange(RATE_HZ // 2) / 1500)
        soundfile.write(root / "rooms" / f"{i}.wav", 0.2 * decay * rng.standard_normal(len(decay)), RATE_HZ)


def works(root: Path) -> dict[str, Callable[[int], object]]:
    """What is timed, by name; each call gets the round's number, so that seeds differ."""
    wave_BT = speech_like()
    found: dict[str, Callable[[int], object]] = {}
    for name in NETWORKS:
        network = build(name).eval()
        found[f"{name} tiny, forward"] = lambda _, network=network: network(wave_BT)
    for name in (*CHANGES, f"noise:{root}/noise", f"reverb:{root}/rooms"):
        augment = build_augment([name], RATE_HZ)
        found[name.partition(":")[0]] = lambda k, augment=augment: augment(wave_BT, torch.arange(CLIPS) + 1000 * k)
    return found


@torch.no_grad()
def measure(found: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for k in range(rounds + 1):
        for name, work in found.items():
            start = time.thread_time()
            work(k)
            if k:  # the first round warms up
                times[name].append(1000 * (time.thread_time() - start))
    return {name: statistics.median(spent) for name, spent in times.items()}


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        write_folders(Path(name))
        spent = measure(works(Path(name)), rounds)
    forward = {name: spent.pop(f"{name} tiny, forward") for name in NETWORKS}
    shares = [(f"share of {name} ({ms:.0f} ms)", ".0%") for name, ms in forward.items()]
    slowest = sorted(spent.items(), key=lambda item: -item[1])
    rows = [[name, ms, *(ms / of for of in forward.values())] for name, ms in slowest]
    table = Table([("change", ""), ("CPU ms", ".1f"), *shares], rows)
    print(table.markdown())
    write("augment", {"changes": table})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
