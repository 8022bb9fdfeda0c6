"""Work on a batch where memory is short: begun again in more and smaller parts, whose results add up to the same."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from plastsearch.errors import out_of_memory

Result = TypeVar("Result")


class Halving:
    """In how many parts batches are taken: doubled when memory runs out, and kept for the batches that follow."""

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts

    def __call__(self, work: Callable[[int], Result], clips: int) -> Result:
        """`work(parts)`, begun anew with twice the parts whenever memory runs out; with one clip each the error stays.

        `work` must leave nothing behind that a second beginning would count again.
        """
        while True:
            parts = min(self.parts, clips)
            try:
                return work(parts)
            except (RuntimeError, MemoryError) as error:
                if parts >= clips or not out_of_memory(error):
                    raise
            # After the handler: the error's traceback held what the attempt had taken.
            self.parts = 2 * parts
            give_back()

    def rows(self, function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """`function(batch)` for one that treats each row by itself."""
        return self(lambda parts: torch.cat([function(part) for part in batch.chunk(parts)]), len(batch))


def give_back() -> None:
    """Return to the device what is no longer used."""
    gc.collect()  # an interrupted backward leaves cycles
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
