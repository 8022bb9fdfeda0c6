"""What a worker's process takes of its machine, from the system's own books: no library, no thread, no MLflow.

Told with each report, so that what it shows is the process at work and costs one look at two files.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

GPU_USE = "gpu_0_utilization_percentage"
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class OwnFigures:
    """Processor use since the last look, memory now, and GPU memory where a GPU is in use."""

    def __init__(self) -> None:
        self._looked_s, self._used_s = time.monotonic(), time.process_time()

    def now(self) -> dict[str, float]:
        """Names as MLflow gives them to system metrics, without the prefix that marks these."""
        now_s, used_s = time.monotonic(), time.process_time()
        found: dict[str, float] = {}
        if now_s > self._looked_s:  # one core in full is 100
            share = (used_s - self._used_s) / (now_s - self._looked_s)
            found["cpu_utilization_percentage"] = round(100 * share, 1)
        self._looked_s, self._used_s = now_s, used_s
        return found | _memory() | _gpu()


def _memory() -> dict[str, float]:
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):  # not Linux
        return {}
    return {"system_memory_usage_megabytes": round(resident * _PAGE_MB, 1)}


def _gpu() -> dict[str, float]:
    # Only if the trial has it already: fake trials have no torch, and to import it takes seconds.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    found = {"gpu_0_memory_usage_megabytes": round(torch.cuda.memory_allocated() / 1e6, 1)}
    # A part of a GPU (MIG) and some containers do not tell how busy it is, each by an exception of its own.
    with suppress(Exception):
        found[GPU_USE] = float(torch.cuda.utilization())
    return found
