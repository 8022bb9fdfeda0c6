"""Method `adaptive`: each insertion asks the gradients where a share of the neurons should go."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from plastsearch.growth.candidates import promises, spend
from plastsearch.growth.initialise import Shares
from plastsearch.growth.survey import find_sites
from plastsearch.spec.config import TrialConfig
from plastsearch.store.records import StageRecord
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.methods import Part
from plastsearch.trial.networks import TrialNetwork

TOGETHER = 4  # clips whose gradients are taken as one: few enough to tell whether clips agree


def growth_plan(records: Iterable[StageRecord]) -> list[dict[str, object]]:
    """The insertions as a result keeps them."""
    names = ("at_step", "sites", "gradients", "budget", "unspent")
    return [{name: record.details[name] for name in names} for record in records if "gradients" in record.details]


def due(config: TrialConfig, part: Part) -> int:
    """Neurons that an insertion and those before it may have added together: of the budget, as much as there are."""
    return sum(config.growth().values()) * (part.number + 1) // part.of


@dataclass(frozen=True)
class Choice:
    """Where the neurons of an insertion go, and what the gradients said."""

    sites: dict[str, int]
    gradients: dict[str, float]
    budget: int


def choose(
    network: TrialNetwork,
    config: TrialConfig,
    part: Part,
    clips: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    steer: Callable[[nn.Module], Shares],
) -> Choice:
    """Ask calibration clips, by the mean loss on a few of them, where the neurons due now would learn most."""
    budget = due(config, part) - sum(sum(sites.values()) for sites in network.placed)
    candidates = config.growth()
    promised = promises(
        network.module,
        [name for name in find_sites(network.module) if name in candidates],
        budget,
        init=config.init,
        score=config.adaptive_score,
        lateral="both" if config.regime == "unfrozen" else config.lateral,
        losses=lambda twin: _shares(twin, list(clips), loss),
        steer=steer,
        generator=torch.Generator().manual_seed(derive_seed(config.seed, "candidates", part.number)),
    )
    return Choice(spend(promised, budget), {name: one.gradient for name, one in promised.items()}, budget)


def _shares(
    module: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], loss: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[Shares]:
    """The mean loss over all clips, in shares of a few clips each."""
    total = sum(len(labels) for _, labels in batches)

    def of(waves: Tensor, labels: Tensor, parts: int) -> Iterator[Tensor]:
        for wave, label in zip(waves.chunk(parts), labels.chunk(parts), strict=True):
            yield loss(module(wave).float(), label) * (len(label) / total)

    for waves, labels in batches:
        for some, theirs in zip(torch.split(waves, TOGETHER), torch.split(labels, TOGETHER), strict=True):
            yield Shares(partial(of, some, theirs), len(theirs))
