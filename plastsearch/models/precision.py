"""What keeps a computation in the precision of its weights. Pure PyTorch: exported models carry this file, too."""

from contextlib import AbstractContextManager, nullcontext

import torch


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Within, a surrounding autocast is off; shapes without numbers, as forecasts use them, know none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
