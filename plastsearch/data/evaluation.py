"""What is asked of whoever opens the evaluation split: a key that was issued. Keys are issued in evaluation_key.py."""

import weakref
from typing import Never, final

from plastsearch.errors import EvaluationClosedError

GUARDED = frozenset({"eval", "progress", "hidden"})
LAW = "the evaluation split is opened once, by the finalists step (`finalists:` in the search space)"

_issued: "weakref.WeakSet[EvaluationKey]" = weakref.WeakSet()  # filled by evaluation_key.py alone; a test looks


@final
class EvaluationKey:
    """A right to open the evaluation split, passed from hand to hand; it holds in this process alone."""

    __slots__ = ("__weakref__", "purpose")
    purpose: str

    def __init__(self) -> None:
        raise EvaluationClosedError(f"an evaluation key was asked for, but {LAW}")

    def __init_subclass__(cls) -> None:
        raise EvaluationClosedError(f"an evaluation key has no other kinds: {LAW}")

    def __reduce_ex__(self, protocol: object) -> Never:
        """Copies and pickles go through here."""
        raise EvaluationClosedError(f"an evaluation key is not copied, and does not leave its process: {LAW}")


def require(split: str, key: EvaluationKey | None) -> None:
    """Raise unless the split is open to everybody or the key is one that was issued."""
    # by identity: an object may claim to equal any other
    if split in GUARDED and not any(key is known for known in _issued):
        raise EvaluationClosedError(f"split '{split}' was asked for without a valid key, but {LAW}")
