"""The lock on the evaluation split: only the finalists step can make the key, and without a key no clip set opens."""

import sys
import weakref
from pathlib import Path
from typing import Never, final

from plastsearch.errors import EvaluationClosedError

GUARDED = frozenset({"eval", "progress", "hidden"})
KEEPER = "plastsearch.trial.finalist"
KEEPER_FILE = Path(__file__).resolve().parents[1] / "trial" / "finalist.py"
LAW = "the evaluation split is opened once, by the finalists step (`finalists:` in the search space)"

_issued: "weakref.WeakSet[EvaluationKey]" = weakref.WeakSet()


@final
class EvaluationKey:
    """Proof that the finalists step asks; it cannot be made elsewhere, copied, pickled or subclassed."""

    __slots__ = ("__weakref__", "purpose")

    def __init__(self, purpose: str) -> None:
        frame = sys._getframe(1)
        if frame.f_globals.get("__name__") != KEEPER or Path(frame.f_code.co_filename).resolve() != KEEPER_FILE:
            raise EvaluationClosedError(f"{frame.f_globals.get('__name__')} asked for an evaluation key, but {LAW}")
        self.purpose = purpose
        _issued.add(self)

    def __init_subclass__(cls) -> None:
        raise EvaluationClosedError(f"an evaluation key has no other kinds: {LAW}")

    def __copy__(self) -> Never:
        raise EvaluationClosedError(f"an evaluation key is not copied: {LAW}")

    def __deepcopy__(self, memo: object) -> Never:
        raise EvaluationClosedError(f"an evaluation key is not copied: {LAW}")

    def __reduce_ex__(self, protocol: object) -> Never:
        raise EvaluationClosedError(f"an evaluation key does not leave its process: {LAW}")


def require(split: str, key: EvaluationKey | None) -> None:
    """Raise unless the split is open to everybody or the key is one that was issued."""
    if split in GUARDED and not (type(key) is EvaluationKey and any(key is known for known in _issued)):
        raise EvaluationClosedError(f"split '{split}' was asked for without a valid key, but {LAW}")
