"""What a front end is before anything learns: its statistics of the training clips, the name of what it computes."""

import numpy as np
import torch

from plastsearch.data.clips import ClipSet
from plastsearch.models.detector import Detector
from plastsearch.models.frontend import FilterBank
from plastsearch.spec.config import content_id

MEASURED = 256  # training clips, evenly spread: some 50,000 frames tell a bin's mean and deviation to a hundredth
BATCH = 32


def measure_(module: Detector, clips: ClipSet, length_samples: int, device: torch.device) -> None:
    """Mean and deviation of each bin over the training clips, where features are set against them."""
    front_end = getattr(module, "front_end", None)
    if not isinstance(front_end, FilterBank) or front_end.normalise != "corpus":
        return
    rows = np.unique(np.linspace(0, len(clips) - 1, min(MEASURED, len(clips))).round().astype(np.int64))
    parts = (rows[first : first + BATCH] for first in range(0, len(rows), BATCH))
    front_end.measure_(torch.from_numpy(clips.batch(part, length_samples)).to(device) for part in parts)


def features_id(module: Detector) -> str | None:
    """A name for what the front end computes, the same in all trials that compute it; None without a front end."""
    front_end = getattr(module, "front_end", None)
    if not isinstance(front_end, FilterBank):
        return None
    statistics = {name: value.cpu().tolist() for name, value in front_end.state_dict().items()}
    choices = [front_end.kind, front_end.rate_hz, front_end.normalise, front_end.deltas]
    return content_id({"front_end": choices, "shape": vars(front_end.shape), "statistics": statistics}, 24)
