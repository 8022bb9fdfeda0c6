"""What this machine's NVIDIA driver says of itself, without torch."""

import ctypes
from dataclasses import dataclass

# The oldest driver that a release of CUDA runs on, by NVIDIA's table of minimum versions.
OLDEST_DRIVER = {12: 525, 13: 580}
LIBRARY = "libcuda.so.1"


@dataclass(frozen=True)
class Driver:
    """A driver that answers: the newest CUDA that it knows, as 13 and 0, and the GPUs that this process may see."""

    major: int
    minor: int
    gpus: int | None = None  # None: not asked, or it would not say


def driver(*, count: bool = False) -> Driver | None:
    """The driver, and how many GPUs it shows if that is asked, which wakes them; None where there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    known = ctypes.c_int(0)
    if library.cuDriverGetVersion(ctypes.byref(known)) != 0:
        return None
    found = ctypes.c_int(0)
    told = count and library.cuInit(0) == 0 and library.cuDeviceGetCount(ctypes.byref(found)) == 0
    return Driver(known.value // 1000, known.value % 1000 // 10, found.value if told else None)


def too_old(found: Driver, built_for: str) -> str | None:
    """Which driver would do, where this one is older than the CUDA (`13.0`) that torch was built for."""
    major = int(built_for.partition(".")[0])
    if found.major >= major:  # minor releases run on any driver of theirs
        return None
    return f"a driver for CUDA {major}{f' ({OLDEST_DRIVER[major]} or newer)' if major in OLDEST_DRIVER else ''}"
