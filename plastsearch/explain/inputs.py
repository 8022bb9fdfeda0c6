"""What a network reads, as cells that relevance can be given to and that can be deleted: rows over frames.

A spectrogram network's cells are its front end's bins and frames; a speech encoder's are the frames that its
convolutions hand on, before positions, since each of those has heard 25 ms and nothing else. The convolutions
themselves normalise a clip's level away, so a path from silence to the clip would jump at its first step.

Axes: B clips, F rows (bins, or features of a frame), L frames.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from plastsearch.errors import PlastsearchError
from plastsearch.models.detector import Detector
from plastsearch.models.frontend import FilterBank
from plastsearch.models.wav2vec2 import SpeechEncoder
from plastsearch.scores.metrics import Floats

CEPSTRAL = ("lfcc", "mfcc")


class Inputs:
    """A detector cut behind its front end."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector.eval()
        self.encoder = detector if isinstance(detector, SpeechEncoder) else None
        front_end = getattr(detector, "front_end", None)
        self.front_end = front_end if isinstance(front_end, FilterBank) else None
        if self.encoder is None and self.front_end is None:
            raise PlastsearchError(f"{type(detector).__name__} has neither a front end nor frames to explain")

    @property
    def family(self) -> str:
        """Which kind of network, for the choice of methods: convolutions, recurrent layers or attention."""
        if self.encoder is not None:
            return "attention"
        return "convolutions" if hasattr(self.detector, "conv1") else "recurrent"

    @property
    def has_bands(self) -> bool:
        """Whether rows are bands of frequency: cepstral coefficients and learnt features have no place in kHz."""
        return self.front_end is not None and self.front_end.kind not in CEPSTRAL

    def read(self, wave_BT: Tensor) -> Tensor:
        """What the network reads of these waves, [B, F, L]."""
        with torch.no_grad():
            if self.encoder is not None:
                return self.encoder.projected(wave_BT).transpose(1, 2).contiguous()
            assert self.front_end is not None
            features_BFL: Tensor = self.front_end(wave_BT)
        return features_BFL

    def logit(self, input_BFL: Tensor) -> Tensor:
        """Scores of what was read: the difference of logits, higher for bona fide."""
        return self.score_from(self.stem(input_BFL), 0)

    def stem(self, input_BFL: Tensor) -> Tensor:
        """What the first block reads."""
        if self.encoder is not None:
            return self.encoder.placed(input_BFL.transpose(1, 2))
        with self._given():
            return self.detector.stem(input_BFL)

    def score_from(self, hidden: Tensor, block: int) -> Tensor:
        """Scores from what the block of that number reads."""
        detector = self.detector
        logits_BC = detector.classify(detector.frames(detector.run(hidden, block))).float()
        difference_B: Tensor = logits_BC[:, 1] - logits_BC[:, 0]
        return difference_B

    def held_still(self, input_BFL: Tensor) -> Tensor:
        """The reference: each row at its mean over the clip, a steady sound of the same spectrum."""
        return input_BFL.mean(2, keepdim=True).expand_as(input_BFL)

    @contextmanager
    def _given(self) -> Iterator[None]:
        """Within, the network takes features in the place of waves."""
        front_end = self.detector.front_end
        self.detector.front_end = nn.Identity()
        try:
            yield
        finally:
            self.detector.front_end = front_end


def row_khz(front_end: FilterBank) -> Floats:
    """The centre of each band in kHz."""
    bank = front_end.bank.double().cpu().numpy()
    bins = np.linspace(0, front_end.rate_hz / 2000, len(bank))
    centres: Floats = (bank * bins[:, None]).sum(0) / np.maximum(bank.sum(0), 1e-12)
    return centres


@contextmanager
def differentiable(detector: Detector) -> Iterator[None]:
    """Within, gradients of inputs and activations are to be had, and no parameter gathers any."""
    wanted = [(parameter, parameter.requires_grad) for parameter in detector.parameters()]
    for parameter, _ in wanted:
        parameter.requires_grad_(False)
    try:
        # cuDNN differentiates recurrent layers in train mode only.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
