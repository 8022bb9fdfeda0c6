"""For libraries of a thousand modules, which Python's collector of garbage searches again and again as they load."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile, which takes a seventh of an import's time, nor what is there looked at later."""
    if not gc.isenabled():  # somebody around us sees to it, or wants none at all
        yield
        return
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:  # only then: a cycle that is frozen is never given back
            gc.freeze()
        gc.enable()
