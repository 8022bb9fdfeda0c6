"""What deterministic kernels cost: training steps in three modes, each in a process of its own.

    python benchmarks/determinism.py                    # on the CPU: one thread, its CPU time
    python benchmarks/determinism.py --device cuda      # events on the GPU

`usual` is what trials do (cuDNN keeps to deterministic algorithms), `deterministic` is --deterministic, and `quickest`
lets cuDNN try all its algorithms. `repeats` says whether two runs of a few steps agreed to the last bit.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from results import Table, write
from torch import Tensor, nn

from plastsearch.models.build import build
from plastsearch.training.fit import make_optimizer
from plastsearch.training.losses import build_loss
from plastsearch.trial.device import pick_device, repeatable
from plastsearch.trial.timing import StepUnderTest, _lap

MODES = ("usual", "deterministic", "quickest")
WARM = 2  # steps before the clock counts
NETWORKS = ("grnn", "resnet18", "wav2vec2")


def measured(
    mode: str, device: str, preset: str, clips: int, samples: int, steps: int, networks: Sequence[str] = NETWORKS
) -> list[dict[str, Any]]:
    """Milliseconds of a training step of each network in one mode; asks a process of its own."""
    words = [sys.executable, __file__, "--mode", mode, "--device", device, "--preset", preset, "--clips", str(clips)]
    words += ["--samples", str(samples), "--steps", str(steps), "--networks", *networks]
    root = Path(__file__).parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]  # the package need not be installed
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    ended = subprocess.run(words, capture_output=True, text=True, cwd=root, env=environment, check=False)
    if ended.returncode:
        raise RuntimeError(f"mode {mode}: {ended.stderr.strip().splitlines()[-1]}")
    found: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return found


def child(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """The same, in this process."""
    torch.set_num_threads(1)
    repeatable(chosen.mode == "deterministic")
    if chosen.mode == "quickest":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    device = pick_device(chosen.device)
    rows = []
    for name in chosen.networks:
        first, second = (_trained(name, chosen, device) for _ in range(2))
        rows.append({"network": name, "ms": statistics.median(first[0] + second[0]), "repeats": first[1] == second[1]})
    return rows


def _trained(name: str, chosen: argparse.Namespace, device: torch.device) -> tuple[list[float], str]:
    """Times of some steps from the same start, and a hash of the weights after them."""
    torch.manual_seed(0)
    module, step = _step(name, chosen, device)
    laps = [sum(_lap(step, device)) for _ in range(chosen.steps + WARM)][WARM:]
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return laps, digest.hexdigest()


def _step(name: str, chosen: argparse.Namespace, device: torch.device) -> tuple[nn.Module, StepUnderTest]:
    module = build(name, chosen.preset, seed=0).to(device).train()
    generator = torch.Generator().manual_seed(1)
    wave_BT = torch.randn(chosen.clips, chosen.samples, generator=generator).to(device)
    label_B = torch.arange(chosen.clips, device=device) % 2
    loss = build_loss("cross_entropy", (1, 1)).to(device)

    def forward() -> Tensor:
        return loss(module(wave_BT), label_B)

    return module, StepUnderTest(forward, make_optimizer(module, 1e-3, 0.01))


def main() -> None:
    """Measures every mode in turn, or, as a child, one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--samples", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.mode:
        print(json.dumps(child(chosen)))
        return
    rows = []
    usual: dict[str, float] = {}
    for mode in MODES:
        shape = chosen.preset, chosen.clips, chosen.samples, chosen.steps, chosen.networks
        for row in measured(mode, chosen.device, *shape):
            against = row["ms"] / usual.setdefault(row["network"], row["ms"])
            rows.append([row["network"], mode, row["ms"], f"{against:.2f} ×", "yes" if row["repeats"] else "no"])
    heads = [("network", ""), ("mode", ""), ("ms a step", ".2f"), ("against usual", ""), ("two runs agree", "")]
    table = Table(heads, rows)
    print(table.markdown())
    kind = torch.device(chosen.device).type
    write("determinism" if kind == "cpu" else f"determinism_{kind}", {"steps": table}, device=chosen.device)


if __name__ == "__main__":
    main()
