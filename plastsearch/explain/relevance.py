"""METHODS: relevance of every cell that a network reads; above zero it speaks for bona fide, below for a spoof.

Axes: B clips, F rows, L frames, S steps of a spiking network or of a path, C channels, H heads, D features.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from plastsearch.errors import PlastsearchError
from plastsearch.explain.inputs import Inputs, differentiable
from plastsearch.models.detector import AttentionPool
from plastsearch.models.heads.back_end import BackEnd
from plastsearch.models.wav2vec2 import SpeechEncoder

MethodName = Literal["grad-cam", "integrated-gradients", "attention"]
NAMES: tuple[MethodName, ...] = get_args(MethodName)
STEPS = 32  # of the path of integrated gradients
MOST = 4  # times as many steps at most, where the sum misses
ENOUGH = 0.05  # share of the score's distance that the sum may miss
AT_ONCE = 32  # rows of one pass


@dataclass(frozen=True)
class Relevance:
    """One clip's map [F, L], or [1, L] where rows have no meaning of their own."""

    map: Tensor
    logits: bool  # whether its sum is meant to be the score's distance from that of the reference
    missed: float | None = None  # of integrated gradients: that sum's error as a share of the distance


@dataclass(frozen=True)
class Settings:
    """What a person may choose."""

    steps: int = STEPS
    layer: str | None = None  # a block of Grad-CAM


def explain(inputs: Inputs, method: MethodName, input_FL: Tensor, settings: Settings) -> Relevance:
    """Relevance of one clip's cells."""
    with differentiable(inputs.detector):
        found = METHODS[method](inputs, input_FL[None], settings)
    return found


def methods_for(inputs: Inputs) -> tuple[MethodName, ...]:
    """The methods that fit a network, the one that is made for its kind first."""
    match inputs.family:
        case "convolutions":
            return ("grad-cam", "integrated-gradients")
        case "attention":
            return ("attention", "integrated-gradients") if not _fused(inputs) else ("integrated-gradients", "grad-cam")
        case _:
            return ("integrated-gradients", "grad-cam")


def check_method(inputs: Inputs, method: MethodName, settings: Settings) -> None:
    """Refuse what a network cannot answer."""
    if method == "attention" and inputs.encoder is None:
        raise PlastsearchError(
            "--method attention: this network has no attention; take grad-cam or integrated-gradients"
        )
    if method == "attention" and _fused(inputs):
        raise PlastsearchError(
            "--method attention: this encoder hands its attention to one fused call, together with what positions say "
            "of each pair of frames, and keeps no weights; take integrated-gradients or grad-cam"
        )
    blocks = [name for name, _ in inputs.detector.blocks()]
    if settings.layer is not None and settings.layer not in blocks:
        raise PlastsearchError(f"--layer {settings.layer}: no such block; this network has {', '.join(blocks)}")


def default_layer(inputs: Inputs) -> str:
    """Of convolutions the last block whose map still has four rows; of others the last block."""
    names = [name for name, _ in inputs.detector.blocks()]
    fine = [name for name in names if inputs.family != "convolutions" or not name.startswith("layer4")]
    return fine[-1] if fine else names[-1]


def integrated_gradients(inputs: Inputs, input_1FL: Tensor, settings: Settings) -> Relevance:
    """Gradients along the straight path from the clip held still to the clip, times the way (Sundararajan 2017)."""
    base_1FL = inputs.held_still(input_1FL)
    way_1FL = input_1FL - base_1FL
    with torch.no_grad():
        distance = float(inputs.logit(input_1FL) - inputs.logit(base_1FL))
    steps = settings.steps
    while True:
        map_FL = way_1FL[0] * _mean_slope(inputs, base_1FL, way_1FL, steps)
        missed = abs(float(map_FL.sum()) - distance) / max(abs(distance), 1e-6)
        if missed <= ENOUGH or steps >= MOST * settings.steps:
            return Relevance(_rows(inputs, map_FL), True, missed)
        steps *= 2  # a bend in the path that so few steps pass over


def _mean_slope(inputs: Inputs, base_1FL: Tensor, way_1FL: Tensor, steps: int) -> Tensor:
    """The gradient's mean over midpoints of the path."""
    shares = (torch.arange(steps, device=way_1FL.device) + 0.5) / steps
    total_FL = torch.zeros_like(way_1FL[0])
    for some in torch.split(shares, AT_ONCE):
        path_SFL = (base_1FL + some[:, None, None] * way_1FL).requires_grad_(True)
        (slope_SFL,) = torch.autograd.grad(inputs.logit(path_SFL).sum(), path_SFL)
        total_FL += slope_SFL.sum(0)
    return total_FL / steps


def grad_cam(inputs: Inputs, input_1FL: Tensor, settings: Settings) -> Relevance:
    """Channels of a block weighted by their mean gradient (Selvaraju 2017), signed: both classes in one map."""
    detector = inputs.detector
    names = [name for name, _ in detector.blocks()]
    after = names.index(settings.layer or default_layer(inputs)) + 1
    with torch.no_grad():
        hidden = detector.run(inputs.stem(input_1FL), 0, after)
    hidden = hidden.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(inputs.score_from(hidden, after).sum(), hidden)
    if inputs.family == "convolutions":  # [B, (S,) C, F, L]
        cam = (slope.mean((-1, -2), keepdim=True) * hidden.detach()).sum(-3)
    else:  # [B, (S,) L, D]
        cam = (slope.mean(-2, keepdim=True) * hidden.detach()).sum(-1)[..., None, :]
    coarse_RL = cam.flatten(0, -3).sum(0)  # over the steps of a spiking network, if there are any
    rows = input_1FL.shape[1] if coarse_RL.shape[0] > 1 else 1
    fine_FL = functional.interpolate(
        coarse_RL[None, None], size=(rows, input_1FL.shape[2]), mode="bilinear", align_corners=False
    )[0, 0]
    # A finer grid shares the same sum out.
    return Relevance(_rows(inputs, fine_FL * (coarse_RL.numel() / fine_FL.numel())), True)


def attention(inputs: Inputs, input_1FL: Tensor, _settings: Settings) -> Relevance:
    """Attention weighted by gradients, mean over heads, carried from layer to layer (Chefer 2021, GATR)."""
    kept: list[Tensor] = []
    encoder = inputs.encoder
    assert encoder is not None
    with _seen(encoder, kept):
        hidden = inputs.stem(input_1FL).detach().requires_grad_(True)
        frames = encoder.frames(encoder.run(hidden, 0))  # of the last layer, or of all that the head reads
        logits = encoder.classify(frames)
        score = (logits[:, 1] - logits[:, 0]).sum()
        *slopes, slope = torch.autograd.grad(score, [*kept, frames])
    heard_KL = _heard(encoder, frames.detach(), slope)
    found = []
    for sign in (1.0, -1.0):  # for either class what raises its logit; the difference has both
        # What is carried beside the identity: added to ones, small relevance would lose its last digits.
        carried_LL = torch.zeros_like(kept[0][0, 0])
        sum_L = torch.zeros_like(carried_LL[0])
        for number, (weight_1HLL, slope_1HLL) in enumerate(zip(kept, slopes, strict=True), start=1):
            layer_LL = (sign * slope_1HLL * weight_1HLL.detach()).clamp_min(0).mean((0, 1))
            carried_LL = carried_LL + layer_LL + layer_LL @ carried_LL
            state = number + len(heard_KL) - len(kept) - 1  # a head that reads one state reads the last
            sum_L = sum_L + heard_KL[state] @ carried_LL if state >= 0 else sum_L
        found.append(sum_L)
    both_L = found[0] - found[1]
    # Its size follows the gradients' and says nothing beside another network's, so only shares are given.
    return Relevance((both_L / both_L.abs().sum().clamp_min(1e-30))[None], False)


METHODS: dict[MethodName, Callable[[Inputs, Tensor, Settings], Relevance]] = {
    "grad-cam": grad_cam,
    "integrated-gradients": integrated_gradients,
    "attention": attention,
}


def _rows(inputs: Inputs, map_FL: Tensor) -> Tensor:
    """As it is where rows are bands, else summed over rows."""
    return map_FL.detach() if inputs.has_bands else map_FL.detach().sum(0, keepdim=True)


def _fused(inputs: Inputs) -> bool:
    return inputs.encoder is not None and inputs.encoder.backbone.config.model_type in ("wavlm", "wav2vec2-bert")


def _heard(encoder: SpeechEncoder, frames: Tensor, slope: Tensor) -> Tensor:
    """How much of each frame the head hears, [K, L]: of the one state it reads, or of all of them."""
    if not isinstance(encoder.pool, BackEnd):
        return _pooled(encoder.pool, frames)[None]
    # A head without weights for frames that could be read off: how far each frame moves the score.
    heard_KL = (frames * slope)[0].sum(-1).abs().reshape(-1, frames.shape[-2])
    return heard_KL / heard_KL.sum().clamp_min(1e-30)


def _pooled(pool: nn.Module, frames_1LD: Tensor) -> Tensor:
    """How much of each frame a pooling hears."""
    if isinstance(pool, AttentionPool):
        score_1L1: Tensor = pool.score(torch.tanh(pool.hidden(frames_1LD)))
        return score_1L1.softmax(1)[0, :, 0].detach()
    return torch.full((frames_1LD.shape[1],), 1 / frames_1LD.shape[1], device=frames_1LD.device)


@contextmanager
def _seen(encoder: Any, kept: list[Tensor]) -> Iterator[None]:
    """Within, every attention layer computes its weights in the open, and they are kept in order."""
    config = encoder.backbone.config
    before = config._attn_implementation

    def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor | None]) -> None:
        assert output[1] is not None  # eager attention always returns them
        kept.append(output[1])

    layers = [one for one in encoder.backbone.encoder.layers.modules() if hasattr(one, "q_proj")]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = before
        for hook in hooks:
            hook.remove()
