"""Random numbers of a seed, wherever they are drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of `seed` within, on the CPU and the current GPU; the global generators are as before afterwards.

    A GPU that nothing has used yet is left alone: naming its generator would start it.
    """
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
