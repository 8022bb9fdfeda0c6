"""New channels in every chunk of a Res2Net block: a narrower row of chunks beside the block's own.

Such a block cuts its channels into chunks, and all but one go through a convolution each, which also hears what the
chunk before it gave. A unit is one channel of every chunk. New channels hear each other from chunk to chunk, and old
ones neither hear nor are heard by them there: all meet again in the layer behind the chunks.

Axes: B clips, C channels, T frames.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from plastsearch.growth.paths import at
from plastsearch.growth.site import Site, Slot

Change = Callable[[Tensor], Tensor]


class ChunkBranch(nn.Module):
    """As such a block computes it, from the layer before its chunks to the one behind them."""

    def __init__(
        self,
        enter: nn.Module,
        norm: nn.Module,
        convs: Sequence[nn.Module],
        norms: Sequence[nn.Module],
        leave: nn.Module,
        act: Change,
        *,
        act_first: bool,
    ) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = enter, norm, leave
        self.convs, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)
        self._act = (act,)  # the base's own, without parameters: not registered twice
        self._act_first = act_first

    def forward(self, x: Tensor) -> Tensor:
        parts = self._after(self.enter(x), self.norm).chunk(len(self.convs) + 1, 1)
        given: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.norms, strict=False):
            heard = given[-1] + part if given else part
            given.append(self._after(conv(heard), norm))
        leaving: Tensor = self.leave(torch.cat([*given, parts[-1]], 1))
        return leaving

    def _after(self, made: Tensor, norm: nn.Module) -> Tensor:
        (act,) = self._act
        changed: Tensor = norm(act(made)) if self._act_first else act(norm(made))
        return changed


def chunk_paths(site: Site) -> list[tuple[str, str]]:
    """The convolution of each chunk that has one, and its norm."""
    count = sum(key.startswith("chunk.") for key in site.parts)
    return [(site.parts[f"chunk.{k}"], site.parts[f"chunk_norm.{k}"]) for k in range(count)]


def folded_tensor(root: nn.Module, branch: ChunkBranch, site: Site, slot: Slot) -> Tensor:
    """A branch's entries of one slot, with zeros where new channels do not meet old ones."""
    owners: dict[str, nn.Module] = {site.parts["in"]: branch.enter, site.parts["out"]: branch.leave}
    owners |= {site.parts[key]: branch.norm for key in ("norm", "late_norm") if key in site.parts}
    inner = chunk_paths(site)
    owners |= dict(zip([conv for conv, _ in inner], branch.convs, strict=True))
    owners |= dict(zip([norm for _, norm in inner], branch.norms, strict=True))
    tensor: Tensor = getattr(owners[slot.module], slot.tensor).detach()
    if tensor.dim() == 1 or slot.module not in [conv for conv, _ in inner]:
        return tensor
    old = getattr(at(root, slot.module), slot.tensor).shape[0]
    nothing = tensor.new_zeros(old, len(tensor), *tensor.shape[2:])
    return nothing.transpose(0, 1) if slot.role == "in" else torch.cat([nothing, tensor])
