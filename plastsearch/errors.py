"""What can go wrong by a user's hand: one message, no traceback, a distinct exit status."""

import errno


class PlastsearchError(Exception):
    """A mistake in the input or its surroundings: the message says what is wrong, where, and what to do."""

    exit_code = 2
    permanent = True  # the same command meets it again, on whatever cluster


class SpecError(PlastsearchError):
    """A configuration or search space that cannot be used; lists every mistake at once."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class GrowthError(PlastsearchError):
    """A growth or prune request that cannot be met; says what is possible instead."""


class DataError(PlastsearchError):
    """Audio, protocols or labels that cannot be used as they are."""


class EvaluationClosedError(PlastsearchError):
    """Something other than the finalists step asked for the evaluation split."""


class TrialError(PlastsearchError):
    """A trial that ended without a result; its message is the reason kept in the record."""


class StageBusyError(TrialError):
    """Another process is computing this stage; the trial can be tried again later."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"stage {key} is being computed by another process")

    def __reduce__(self) -> tuple[type["StageBusyError"], tuple[str]]:
        return StageBusyError, (self.key,)


class DeviceError(PlastsearchError):
    """The GPU that was asked for cannot be used; another process or machine may have a better one."""

    permanent = False


class StorageError(PlastsearchError):
    """A file system that did not answer as it should; the same may work again later, or from another node."""

    permanent = False


class FolderTakenError(PlastsearchError):
    """Another driver has the sweep's folder: nothing is wrong with the sweep, and it may be free later."""

    exit_code = 75  # what sysexits.h calls a temporary failure
    permanent = False


class ClusterError(PlastsearchError):
    """The cluster cannot meet the request, now or ever."""

    exit_code = 3


class ClusterLostError(ClusterError):
    """No cluster answers, or it answers no more; it may again."""

    permanent = False


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in the words of Python, the system, torch, or a GPU's libraries."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in words for phrase in _NO_MEMORY)


def out_of_room(error: BaseException | None) -> bool:
    """Whether a disk was full, or a quota spent: told by the system, or in the words of a library that wrote."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if says_no_room(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def says_no_room(text: str) -> bool:
    """Whether that is said of a full disk or a spent quota."""
    return any(phrase in text.lower() for phrase in _NO_ROOM)


_NO_ROOM = ("no space left on device", "disk quota exceeded", "database or disk is full")
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",
    "failed to map segment",
)
