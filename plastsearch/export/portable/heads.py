"""An encoder whose head is more than a pooling: what reads its states, and whether that wants them all."""

from typing import Any

from torch import Tensor, nn

from plastsearch.export.portable.pooling import Pooled
from plastsearch.models.heads.back_end import BackEnd, LayerMix
from plastsearch.models.heads.table import HEADS


class Judged(Pooled):
    """A network that ends in a head: logits for spoof and bona fide, in this order."""

    def __init__(self, head: dict[str, Any]) -> None:
        super().__init__(head)
        kind, mixed = head.get("kind", "linear"), head.get("mixed", False)
        if kind == "linear" and not mixed:
            return
        mix = LayerMix(head["states"]) if mixed else None
        grown = head.get("grown", {})
        net: nn.Module = self.pool if kind == "linear" else HEADS[kind](head["features"], head["states"], **grown)
        self.pool = BackEnd(net, mix)

    def classify(self, frames_BTD: Tensor) -> Tensor:
        """Logits from the frames, or from all states of them."""
        logits_BC: Tensor = self.head(self.pool(frames_BTD))
        return logits_BC
