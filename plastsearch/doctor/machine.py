"""Cores, memory and GPUs: what there is, and what of it this process may use."""

import os
from pathlib import Path

from plastsearch import nvidia
from plastsearch.cores import shares, usable_cores
from plastsearch.doctor.finding import Finding, fault, note, ok
from plastsearch.doctor.packages import torch_cuda
from plastsearch.words import sized

LEAST_MEMORY = 1e9  # of the driver and one tiny trial
FEW_MEMORY = 4e9
_DISPLAY = "0x03"  # classes of PCI devices that draw or compute
_NVIDIA = "0x10de"


def cores(proc: Path = Path("/proc/self")) -> Finding:
    """Cores, a container's share of them, and threads that would crowd them."""
    name = "cores"
    seen, share, usable = os.cpu_count() or 1, min(shares(proc), default=None), usable_cores(proc)
    if share is not None and share < 1:
        return fault(
            name, f"{seen} seen, but this container may use {share:g} of one",
            "give it a whole core at least (docker run --cpus 2; on Kubernetes resources.limits.cpu)",
        )  # fmt: skip
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > usable:
        return note(
            name, f"{usable} usable, and OMP_NUM_THREADS is {threads}: threads would wait for each other",
            "export OMP_NUM_THREADS=1: trials run side by side, each in one thread",
        )  # fmt: skip
    if usable < seen:
        why = f"a quota of {share:g}" if share is not None and share < seen else "those this process may run on"
        return note(name, f"{usable} of {seen} usable: {why}", "trials are started for the usable ones; none is needed")
    return ok(name, f"{usable}")


def memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Finding:
    """What is left of the machine's memory, or of the container's."""
    name = "memory"
    free, whose = _available(proc), "free"
    inside = _left_in_group(proc, groups)
    if inside is not None and inside < free:
        free, whose = inside, "left of this container's limit"
    said = f"{sized(free)} {whose}"
    if free < LEAST_MEMORY:
        return fault(name, said, "end other programs, or give the container more; a tiny trial takes about 1 GB")
    if free < FEW_MEMORY:
        return note(name, said, "run few trials at a time: sweep --parallel 1")
    return ok(name, said)


def _available(proc: Path) -> float:
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return float("inf")


def _left_in_group(proc: Path, groups: Path) -> float | None:
    """Of the tightest control group around this process; version 2 alone says it in one place."""
    try:
        line = next(line for line in (proc / "self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    folder = groups / line.removeprefix("0::").lstrip("/")
    found: list[float] = []
    for place in (folder, *folder.parents):
        try:
            limit, used = ((place / file).read_text().strip() for file in ("memory.max", "memory.current"))
        except OSError:
            continue
        if limit.isdigit():
            found.append(float(limit) - float(used))
        if place == groups:
            break
    return min(found, default=None)


def gpu(devices: Path = Path("/sys/bus/pci/devices")) -> Finding:
    """GPUs, their driver, and whether torch was built for both."""
    name = "GPU, driver"
    cards, driver, built = _cards(devices), nvidia.driver(count=True), torch_cuda()
    if driver is None and cards:
        return fault(
            name, f"{cards} NVIDIA card{'s' if cards > 1 else ''}, but no driver that answers ({nvidia.LIBRARY})",
            "install NVIDIA's driver; in a container start it with the GPUs (docker run --gpus all)",
        )  # fmt: skip
    if driver is None:
        return ok(name, "none here; trials run on CPUs")
    said = f"driver for CUDA {driver.major}.{driver.minor}"
    if built is None:
        return fault(
            name, f"{said}, but this torch was built without CUDA",
            "install the torch of the package index instead of its CPU build",
        )  # fmt: skip
    if (needed := nvidia.too_old(driver, built)) is not None:
        return fault(name, f"{said}, and torch needs {needed}", "update the driver, on a cluster that of the GPU nodes")
    if not driver.gpus:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f"CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else "see nvidia-smi"
        return note(name, f"{said}, but no GPU is to be seen: {why}", "unset CUDA_VISIBLE_DEVICES to use GPUs")
    return ok(name, f"{driver.gpus} GPU{'s' if driver.gpus > 1 else ''}, {said}, torch built for CUDA {built}")


def _cards(devices: Path) -> int:
    """NVIDIA's cards on the bus, whether a driver knows them or not."""
    found = 0
    for device in devices.iterdir() if devices.is_dir() else ():
        try:
            vendor, kind = ((device / file).read_text().strip() for file in ("vendor", "class"))
        except OSError:
            continue
        found += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return found
