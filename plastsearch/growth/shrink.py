"""Score, choose and remove in one call: an ordinary network loses the neurons that are worth least."""

from collections.abc import Mapping

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from plastsearch.errors import GrowthError
from plastsearch.growth.collect import Batches, Loss
from plastsearch.growth.criteria import score
from plastsearch.growth.prune import Pool, choose, remove_neurons_
from plastsearch.growth.survey import find_sites, pick


def shrink_(
    module: nn.Module,
    neurons: Mapping[str, int],
    batches: Batches,
    loss: Loss,
    *,
    criterion: str = "taylor",
    pool: Pool = "all",
    added: Mapping[str, int] | None = None,
    generator: Generator | None = None,
    optimizer: Optimizer | None = None,
) -> dict[str, Tensor]:
    """Removes `neurons` of each site, the lowest by a criterion first; returns the units that went, by index.

    `batches` yields (inputs, labels), `loss` gives one value per clip; `added` says how many of a site's last units are
    new (`Dropin.units`), which `pool="added"` and the criterion `newest` ask. Fold a grown network first.
    """
    sites = find_sites(module)
    counts = {}
    for name, count in neurons.items():
        step = pick(module, sites, name).step
        if count % step:
            raise GrowthError(f"site '{name}' cannot lose {count}: its neurons come in multiples of {step}")
        counts[name] = count // step
    found = score(module, list(counts), [criterion], batches, loss, generator or Generator(), added)[criterion]
    gone = {name: choose(found[name], count, pool, (added or {}).get(name, 0)) for name, count in counts.items()}
    remove_neurons_(module, gone, optimizer)
    return gone
