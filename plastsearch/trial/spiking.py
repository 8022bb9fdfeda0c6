"""How often the neurons of a spiking network fire, counted on clips of the search-dev set."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plastsearch.growth.halving import Halving
from plastsearch.models.lif import LIF
from plastsearch.trial.context import TrialContext
from plastsearch.trial.scoring import BATCH

CLIPS = 128  # evenly over the search-dev set, or all of it where it is smaller


def spikes(context: TrialContext, module: nn.Module) -> dict[str, float]:
    """Spikes of a clip over all neurons and steps, the mean over clips; and as a share of the most there can be.

    Nothing of a network that does not spike. Every trial counts on the same clips in the same batches.
    """
    counter = SpikeCounter(module)
    if not counter.neurons:
        return {}

    def count(wave_BT: Tensor) -> Tensor:
        with torch.autocast(wave_BT.device.type, torch.bfloat16, enabled=context.bf16):
            return counter.count(module, wave_BT)

    halving = Halving()
    module.eval()
    with torch.inference_mode():
        found = torch.cat([halving.rows(count, wave_BT) for wave_BT in _waves(context)])
    fired, places = found.mean(0).tolist()
    return {"spikes_per_inference": fired, "spike_rate": fired / places}


class SpikeCounter:
    """Counts what the spiking neurons of a network give, those of grown blocks among them."""

    def __init__(self, module: nn.Module) -> None:
        # Grown blocks share the neurons of what they stand beside, which so run once more.
        self.neurons = [part for part in module.modules() if isinstance(part, LIF)]

    def count(self, module: nn.Module, wave_BT: Tensor) -> Tensor:
        """Spikes of every clip, and how many there would be if all neurons fired at every step: [B, 2]."""
        found_B2 = torch.zeros(len(wave_BT), 2, dtype=torch.float64, device=wave_BT.device)

        def add(_: nn.Module, __: tuple[Tensor, ...], spikes_R: Tensor) -> None:
            by_clip = spikes_R.reshape(len(wave_BT), -1)
            found_B2[:, 0] += by_clip.sum(1, dtype=torch.float64)
            found_B2[:, 1] += by_clip.shape[1]

        hooks: list[RemovableHandle] = [part.register_forward_hook(add) for part in self.neurons]
        try:
            module(wave_BT)
        finally:
            for hook in hooks:
                hook.remove()
        return found_B2


def _waves(context: TrialContext) -> Iterator[Tensor]:
    """The head crops of the clips that are counted on."""
    clips = context.search_dev
    rows = np.unique(np.linspace(0, len(clips) - 1, min(CLIPS, len(clips))).round().astype(np.int64))
    for first in range(0, len(rows), BATCH):
        yield torch.from_numpy(clips.batch(rows[first : first + BATCH], context.length_samples)).to(context.device)
