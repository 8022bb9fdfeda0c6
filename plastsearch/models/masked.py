"""wav2vec 2.0's own pretraining, for a start without labels or downloads.

Axes: B clips, T frames, D features, N codes to be told apart from.
"""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.models.seeding import seeded
from plastsearch.models.wav2vec2 import SpeechEncoder

# What masked pretraining needs beside the encoder; sized for small encoders.
_PRETRAINING = {
    "apply_spec_augment": True,
    "mask_time_prob": 0.5,  # only that it is not 0 matters: masks are drawn here
    "num_codevectors_per_group": 64,
    "num_codevector_groups": 2,
    "codevector_dim": 64,
    "proj_codevector_dim": 64,
}
# Spans of 60 ms: with the published 200 ms a small encoder stays at chance for thousands of steps.
_SPAN = 3
_SPAN_STARTS = 0.2
_OTHERS = 20


class MaskedPretraining(nn.Module):
    """wav2vec 2.0's own task beside a detector's encoder: tell the true code of a masked frame from codes elsewhere."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

        super().__init__()
        config = Wav2Vec2Config.from_dict({**encoder.backbone.config.to_dict(), **_PRETRAINING})
        self.network: Any = Wav2Vec2ForPreTraining(config)
        self.network.wav2vec2.load_state_dict(encoder.backbone.state_dict(), strict=False)
        self._encoder = (encoder,)  # in a tuple, so that its weights are not registered a second time

    def forward(self, wave_BT: Tensor, generator: torch.Generator, temperature: float) -> tuple[Tensor, float]:
        """Loss per masked frame, and the share of them told rightly; `generator` (on the CPU) draws the masks."""
        wave_BT = self._encoder[0].normalized(wave_BT)
        frames = int(self.network._get_feat_extract_output_lengths(wave_BT.shape[1]))
        mask_BT = _spans(len(wave_BT), frames, generator)
        others_BTN = _others(mask_BT, generator).to(wave_BT.device)
        mask_BT = mask_BT.to(wave_BT.device)
        self.network.set_gumbel_temperature(temperature)
        with seeded(int(torch.randint(2**31, (1,), generator=generator))):
            output = self.network(wave_BT, mask_time_indices=mask_BT, sampled_negative_indices=others_BTN)
        return output.loss / mask_BT.sum(), _hits(
            output.projected_states, output.projected_quantized_states, mask_BT, others_BTN
        )

    def detector(self) -> SpeechEncoder:
        """The detector with the trained encoder; what serves pretraining alone (masks, codes) stays behind."""
        encoder = self._encoder[0]
        trained = self.network.wav2vec2.state_dict()
        encoder.backbone.load_state_dict({key: value for key, value in trained.items() if key != "masked_spec_embed"})
        return encoder


def _spans(clips: int, frames: int, generator: torch.Generator) -> Tensor:
    """Masks of short spans that cover about half of each clip, at least one span each."""
    span = min(_SPAN, frames // 2)
    starts_BT = torch.rand(clips, frames, generator=generator) < _SPAN_STARTS
    first_B1 = torch.randint(frames - span + 1, (clips, 1), generator=generator)
    starts_BT.scatter_(1, first_B1, torch.ones_like(first_B1, dtype=torch.bool))
    mask_BT = starts_BT.clone()
    for shift in range(1, span):
        mask_BT[:, shift:] |= starts_BT[:, :-shift]
    return mask_BT


def _others(mask_BT: Tensor, generator: torch.Generator) -> Tensor:
    """For each frame, masked frames of the same clip whose codes it is to be told from; indices into all frames."""
    clips, frames = mask_BT.shape
    drawn = torch.multinomial(mask_BT.float(), frames * _OTHERS, replacement=True, generator=generator)
    return drawn.reshape(clips, frames, _OTHERS) + torch.arange(clips)[:, None, None] * frames


@torch.no_grad()
def _hits(predicted_BTD: Tensor, code_BTD: Tensor, mask_BT: Tensor, others_BTN: Tensor) -> float:
    """The share of masked frames whose own code is nearer to the prediction than all others."""
    other_BTND = code_BTD.flatten(0, 1)[others_BTN]
    wrong_BTN = torch.cosine_similarity(predicted_BTD[:, :, None], other_BTND, dim=-1)
    same_BTN = (other_BTND == code_BTD[:, :, None]).all(-1)  # the same code is no mistake
    right_BT = torch.cosine_similarity(predicted_BTD, code_BTD, dim=-1)
    hit_BT = right_BT > wrong_BTN.masked_fill(same_BTN, -2.0).amax(-1)
    return hit_BT[mask_BT].float().mean().item()
