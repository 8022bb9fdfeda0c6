"""Stand-ins for trials and proposers: milliseconds instead of minutes, and every way to fail on request.

A worker imports `tests.sweep.fake_trials:trial` by name, like the real one. `model.from` carries orders, such as
`error` or `die-once:<file>`.
"""

import errno
import os
import random
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plastsearch.errors import TrialError
from plastsearch.search.proposer import Proposal
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.model import ModelConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.tracking.records import TrialRecord

FUNCTION = "tests.sweep.fake_trials:trial"
STEPS = 40


def quality(config: TrialConfig) -> dict[str, float]:
    """Final metrics as a function of the configuration alone."""
    draw = random.Random(config.trial_id())
    size = sum(config.growth().values())
    return {
        "dev_eer": round(40 / (1 + size / 50) + draw.random(), 6),
        "backward_ratio": round(min(1.0, 0.1 + size / 500), 6),
        "params_total": 1000.0 + 10 * size,
        "params_baseline": 1000.0,
    }


def trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Four reports and a result; FAKE_TRIAL_S spreads them over time."""
    order, _, argument = (config.model.from_ or "").partition(":")
    pause, final = float(os.environ.get("FAKE_TRIAL_S", "0")) / 4, quality(config)
    for i, stage in enumerate(["train", "dropin", "retrain", "consolidate"], 1):
        time.sleep(pause)
        yield Report(stage, i * STEPS // 4, STEPS, {"dev_eer": final["dev_eer"] + 4 - i})
        if i == 2:
            _obey(order, argument, settings)
    if order == "silent":
        return
    if order == "incomplete":
        del final["dev_eer"]
    if order == "nan":
        final["dev_eer"] = float("nan")
    yield Report("result", STEPS, STEPS, final, final=True, details={"fake": True})


def _obey(order: str, argument: str, settings: RunSettings) -> None:
    if order.endswith("-once"):
        marker = Path(argument)
        if marker.exists():
            return
        marker.touch()
        order = order.removesuffix("-once")
    if order == "error":
        raise TrialError("this configuration is poisonous")
    if order == "bug":
        raise ZeroDivisionError("a bug in the trial")
    if order == "disk":
        raise OSError("the disk does not answer")
    if order == "full":
        raise TrialError("stage train could not be stored") from OSError(errno.ENOSPC, "No space left on device")
    if order == "sticky":
        raise RuntimeError(
            "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"
        )
    if order == "die":
        os._exit(7)
    if order == "hang":
        time.sleep(600)
    if order == "memory":
        _exceed_a_limit()
    if order == "hog":
        hoard = []
        while len(hoard) < 120:  # 6 GB, unless somebody ends it
            hoard.append(bytearray(b"1") * 50_000_000)
            time.sleep(0.1)
    if order == "busy" and settings.defer_busy:
        from plastsearch.errors import StageBusyError

        raise StageBusyError("abc")


def _exceed_a_limit() -> None:
    """Run out of address space for real, and leave the worker as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, hard))
    try:
        bytearray(1_000_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Dice:
    """Proposes random sizes, number by number from the seed alone; `orders` maps a trial number to what goes wrong."""

    def __init__(self, seed: int = 0, orders: dict[int, str] | None = None, space: int | None = None) -> None:
        self.seed, self.orders, self.space = seed, orders or {}, space
        self.told: list[tuple[int, str]] = []
        self.revised: dict[int, tuple[list[float], int]] = {}
        self.asked = 0

    def ask(self, number: int) -> Proposal | None:
        """One draw."""
        if self.space is not None and number > self.space:
            return None
        self.asked += 1
        neurons = random.Random(f"{self.seed}.{number}").randrange(8, 400, 4)
        return Proposal({"neurons": neurons}, config(neurons, self.orders.get(number)))

    def tell(self, record: TrialRecord) -> None:
        """Remember who was told."""
        self.told.append((record.number, record.state))

    def revise(self, record: TrialRecord, values: Sequence[float], runs: int) -> None:
        """Remember what was revised."""
        self.revised[record.number] = (list(values), runs)


def config(neurons: int, order: str | None = None, **more: Any) -> TrialConfig:
    """A configuration that differs in its size."""
    return TrialConfig(model=ModelConfig(from_=order), layers=("encoder.0.ffn",), neurons=neurons, **more)
