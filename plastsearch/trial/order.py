"""Which clips an optimiser step sees: a function of the seed and the step alone, so that resuming is looking it up."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def derive_seed(seed: int, *names: object) -> int:
    """A seed of its own for each purpose; the same on every machine."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Order:
    """A shuffle per epoch, cut into batches; an epoch's last, shorter batch is left out (each shuffle leaves others)."""

    def __init__(self, n_clips: int, batch_size: int, seed: int, weights: NDArray[np.float64] | None = None) -> None:
        self.n_clips = n_clips
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = max(1, n_clips // batch_size)
        self._chances = None if weights is None else weights / weights.sum()
        self._epoch = -1
        self._shuffle: NDArray[np.int64] = np.empty(0, np.int64)

    def epoch_of(self, step: int) -> int:
        return step // self.per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """Clip numbers of one optimiser step."""
        epoch, k = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._shuffle, self._epoch = self._draw(epoch), epoch
        return self._shuffle[k * self.batch_size : (k + 1) * self.batch_size]

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        n = self.per_epoch * self.batch_size
        if self._chances is not None:
            return rng.choice(self.n_clips, size=n, p=self._chances).astype(np.int64)
        return np.resize(rng.permutation(self.n_clips), n).astype(np.int64)
