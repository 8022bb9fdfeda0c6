"""How many cores this process may use: those it may run on, and no more than its container's share of time."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(proc: Path = Path("/proc/self")) -> int:
    """Whole cores, rounded up: a share of 1.5 keeps two workers busy most of the time."""
    allowed = len(os.sched_getaffinity(0))
    share = min(shares(proc), default=math.inf)
    return allowed if share >= allowed else max(1, math.ceil(share))


def shares(proc: Path) -> Iterator[float]:
    """The limit of every control group around this process, in cores; groups without one are left out."""
    for mounted, path in _groups(proc):
        for folder in (mounted / path, *(mounted / path).parents):
            if (folder / "cpu.max").is_file():  # version 2: "150000 100000", or "max 100000"
                quota, period = (_text(folder / "cpu.max").split() + ["max", "0"])[:2]
            else:  # version 1: -1 is no limit
                quota = _text(folder / "cpu.cfs_quota_us")
                period = _text(folder / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit() and int(quota) and int(period):
                yield int(quota) / int(period)
            if folder == mounted:
                break


def _groups(proc: Path) -> Iterator[tuple[Path, Path]]:
    """Where each hierarchy that limits cores is mounted, and this process's group below it.

    A container may see its host's name of the group but only the part below it mounted, so that part is taken off.
    """
    groups = {}
    for line in _text(proc / "cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), Path(name)))
    for line in _text(proc / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind == "cgroup2":
            controller = ""  # one hierarchy for all controllers; /proc/self/cgroup leaves its name empty
        elif kind == "cgroup" and "cpu" in options.split(","):
            controller = "cpu"
        else:
            continue
        if controller in groups:
            path = groups[controller]
            yield Path(mounted), path.relative_to(root) if path.is_relative_to(root) else Path()


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
