"""GRNN: a stack of GRU layers on frames of a front end; its sites are the hidden units of each layer.

Each layer is an `nn.GRU` of its own, because one `nn.GRU` of many layers forces a single width on all of them.

As a spiking network each layer's outputs are the currents of LIF neurons, frame by frame, whose spikes are all that
leaves the layer; gates and state stay real numbers within it. The first layer reads the same frames at every step, so
it runs once; the others run once for each step, and the frames to pool are the mean over steps.

Axes: B clips, S time steps of a spiking network, T samples or frames, D features.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.resize import unflatten
from plastsearch.growth.site import Site, Tap, hidden
from plastsearch.models.catalog import Widths
from plastsearch.models.detector import SpectralDetector
from plastsearch.models.frontend import FilterBank
from plastsearch.models.lif import LIF


class GRNN(SpectralDetector):
    """Front end, normalisation of each row, GRU layers, pooling over frames."""

    family = "grnn"
    own = ("bidirectional", "hidden")

    def __init__(self, front_end: FilterBank, plain: Widths) -> None:
        bidirectional, widths, spikes = plain["bidirectional"], plain["hidden"], plain.get("spikes")
        directions = 2 if bidirectional else 1
        super().__init__(front_end, plain, widths[-1] * directions)
        bins = front_end.n_bins
        self.norm = nn.BatchNorm1d(bins)
        inputs = [bins, *(width * directions for width in widths[:-1])]
        self.gru = nn.ModuleList(
            nn.GRU(before, width, batch_first=True, bidirectional=bidirectional)
            for before, width in zip(inputs, widths, strict=True)
        )
        # One for each layer, though they are alike: what a layer's neurons do is read at its own.
        self.spikes = None if spikes is None else nn.ModuleList(LIF(spikes) for _ in widths)

    def read(self, feature_BFL: Tensor) -> Tensor:
        """Frames of the front end, each row with mean 0 and variance 1 over the training clips."""
        frames_BTD: Tensor = self.masks(self.norm(feature_BFL)).transpose(1, 2)
        return frames_BTD

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`gru.0`, `gru.1`, …"""
        return [(f"gru.{i}", layer) for i, layer in enumerate(self.gru)]

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The outputs of all frames; the last state is among them.

        Recurrent layers compute in the precision of their weights whatever the surrounding autocast says: on GPUs it
        would hand them to cuDNN in float16, also where bfloat16 was asked for.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.to(self.norm.weight.dtype)
            if self.spikes is not None:
                return self._spiking(block, hidden, self.spikes)
            output_BTD: Tensor = block(hidden)[0]
        return output_BTD

    def _spiking(self, block: nn.Module, hidden: Tensor, spikes: nn.ModuleList) -> Tensor:
        """The spikes that leave a layer, [B, S, T, D]; what it reads has no steps where it is the same in each."""
        lif: Any = next(own for layer, own in zip(self.gru, spikes, strict=True) if layer is block)
        if hidden.dim() == 3:
            current_RTD = block(hidden)[0].repeat_interleave(lif.steps, 0)
        else:
            current_RTD = block(hidden.flatten(0, 1))[0]
        return unflatten(lif(current_RTD), 0, (-1, lif.steps))

    def frames(self, hidden: Tensor) -> Tensor:
        """The last layer's outputs: as they are, or how often each neuron fired per step."""
        return hidden if self.spikes is None else hidden.mean(1)

    def declare_sites(self) -> list[Site]:
        """Hidden units of each layer, read by the next layer or by pooling and head."""
        last = len(self.gru) - 1
        top = ["head", "pool.hidden"] if self.pooling == "attention" else ["head"]
        readers = [[f"gru.{i + 1}"] for i in range(last)] + [top]
        sites = [hidden(self, f"gru.{i}", f"gru.{i}", read, order=i) for i, read in enumerate(readers)]
        if self.spikes is None:
            return sites
        # Not the currents, which no reader sees.
        return [
            replace(site, tap=Tap(f"spikes.{i}", "output", -1, gates=site.tap.gates, steps=self._steps()))
            for i, site in enumerate(sites)
        ]

    def _steps(self) -> int:
        return self._plain["spikes"]["time_steps"]

    def truncate_(self, count: int) -> None:
        """Keep the first `count` layers; the head is new if the last of them has another width."""
        self._check_count(count)
        self.gru = self.gru[:count]
        if self.spikes is not None:
            self.spikes = self.spikes[:count]
        layer: Any = self.gru[-1]
        features = layer.hidden_size * (2 if layer.bidirectional else 1)
        self._head_reads_(features)
