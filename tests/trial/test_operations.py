"""Operations of backward passes: torch's counter where that one is right, and the same figure where it is not."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pack_sequence
from torch.utils.flop_counter import FlopCounterMode

from plastsearch.errors import TrialError
from plastsearch.models.build import build
from plastsearch.models.wav2vec2 import Judged, from_widths
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import unfit
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import blank, learn_, logits_from_wave, train_mode_
from plastsearch.trial.operations import backward_gflop

CPU = torch.device("cpu")


def counted(forward: Callable[[], Tensor]) -> float:
    """What torch's counter sees of the backward pass, in GFLOP; attention computed by ordinary products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = forward()
        ahead = counter.get_total_flops()
        loss.backward()
    return (counter.get_total_flops() - ahead) / 1e9


def same(forward: Callable[[], Tensor]) -> float:
    """The figure, if it is the counter's."""
    expected = counted(forward)
    assert expected > 0
    assert backward_gflop(forward) == pytest.approx(expected, rel=1e-12)
    return expected


def variants(count: int) -> list[tuple[bool, ...]]:
    """Which of several tensors get a gradient: all ways but none."""
    return [ways for ways in product((False, True), repeat=count) if any(ways)]


@pytest.mark.parametrize("ways", variants(2))
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(7, 5), (4, 3, 7)),
        (nn.Conv1d(4, 6, 5, stride=2, padding=1), (3, 4, 31)),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), (2, 3, 17, 12)),
        (nn.Conv2d(4, 4, 3, dilation=2), (2, 4, 11, 11)),
    ],
    ids=["linear", "conv1d", "conv2d", "dilated"],
)
def test_layers_of_one_weight(layer: Any, shape: tuple[int, ...], ways: tuple[bool, bool]) -> None:
    layer.weight.requires_grad_(ways[0])
    x = torch.randn(shape, requires_grad=ways[1])
    same(lambda: layer(x).sum())


def test_a_grouped_convolution_costs_its_groups_alone() -> None:
    """The counter takes the gradient of such a weight for that of a whole one."""
    x, whole, grouped = torch.randn(2, 8, 20, requires_grad=True), nn.Conv1d(8, 8, 3), nn.Conv1d(8, 8, 3, groups=4)
    assert backward_gflop(lambda: grouped(x).sum()) == backward_gflop(lambda: whole(x).sum()) / 4
    assert counted(lambda: grouped(x).sum()) > counted(lambda: whole(x).sum()) / 4


@pytest.mark.parametrize("ways", variants(4))
@pytest.mark.parametrize("kind", ["plain", "batch_first", "both ways", "two layers", "packed"])
def test_recurrent_layers(kind: str, ways: tuple[bool, ...]) -> None:
    gru = nn.GRU(5, 4, batch_first=kind == "batch_first", bidirectional=kind == "both ways",
                 num_layers=2 if kind == "two layers" else 1)  # fmt: skip
    for name, parameter in gru.named_parameters():
        parameter.requires_grad_(ways[0] if "_ih" in name else ways[1])
    state = torch.zeros(2 if kind in ("both ways", "two layers") else 1, 3, 4, requires_grad=ways[2])
    if kind == "packed":
        clips = [torch.randn(length, 5, requires_grad=ways[3]) for length in (7, 4, 2)]
        if ways[0] or ways[1] or ways[2] or ways[3]:
            same(lambda: gru(pack_sequence(clips), state)[0].data.sum())
        return
    x = torch.randn(*((3, 7) if kind == "batch_first" else (7, 3)), 5, requires_grad=ways[3])
    same(lambda: gru(x, state)[0].sum())
    if not ways[2] and any(ways):
        same(lambda: gru(x)[0].sum())  # the zeros that it begins with of itself


@pytest.mark.parametrize("ways", variants(4))
@pytest.mark.parametrize("kind", ["batch_first", "both ways", "two layers", "packed"])
def test_layers_of_lstm_cost_four_thirds_of_those_of_gru(kind: str, ways: tuple[bool, ...]) -> None:
    """Four gates instead of three, the same products for each; what the cells hold meets no weight."""
    settings = {"batch_first": kind == "batch_first", "bidirectional": kind == "both ways"}
    layers = [cell(5, 4, 2 if kind == "two layers" else 1, **settings) for cell in (nn.GRU, nn.LSTM)]
    for layer in layers:
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(ways[0] if "_ih" in name else ways[1])
    state = torch.zeros(2 if kind in ("both ways", "two layers") else 1, 3, 4, requires_grad=ways[2])
    x = torch.randn(*((3, 7) if kind == "batch_first" else (7, 3)), 5, requires_grad=ways[3])
    clips = [torch.randn(length, 5, requires_grad=ways[3]) for length in (7, 4, 2)]
    read = pack_sequence(clips) if kind == "packed" else x
    gru, lstm = (
        backward_gflop(lambda layer=layer, first=first: layer(read, first)[0])
        for layer, first in zip(layers, (state, (state, torch.zeros_like(state))), strict=True)
    )
    assert lstm == pytest.approx(4 / 3 * gru)
    assert (lstm > 0) == any(ways)


@pytest.mark.parametrize("ways", variants(4))
def test_attention_fused_or_not(ways: tuple[bool, ...]) -> None:
    q, k, v = (torch.randn(2, 3, frames, 8, requires_grad=way) for frames, way in zip((9, 7, 7), ways[:3], strict=True))
    mask = torch.randn(2, 3, 9, 7, requires_grad=ways[3])

    def fused() -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum()

    def eager() -> Tensor:
        return (((q @ k.transpose(-1, -2)) / 8**0.5 + mask).softmax(-1) @ v).sum()

    same(eager)
    assert backward_gflop(fused) == backward_gflop(eager)


@pytest.mark.parametrize("ways", variants(3))
def test_attention_with_its_projections(ways: tuple[bool, ...]) -> None:
    weights = [torch.randn(8, 8, requires_grad=ways[0]) for _ in range(3)]
    leave, x = torch.randn(8, 8, requires_grad=ways[1]), torch.randn(6, 2, 8, requires_grad=ways[2])

    def forward() -> Tensor:
        out, _ = functional.multi_head_attention_forward(
            x, x, x, 8, 2, torch.empty(0), torch.zeros(24), None, None, False, 0.0, leave, torch.zeros(8),
            attn_mask=torch.zeros(6, 6), use_separate_proj_weight=True,
            q_proj_weight=weights[0], k_proj_weight=weights[1], v_proj_weight=weights[2],
        )  # fmt: skip
        return out.sum()

    same(forward)


ARMS: dict[str, dict[str, Any]] = {
    "baseline": {"method": "baseline"},
    "frozen": {"method": "dropin"},
    "unfrozen": {"method": "dropin", "regime": "unfrozen"},
    "both": {"method": "dropin", "lateral": "both"},
    "parallel": {"method": "dropin", "operator": "parallel"},
    "stack": {"method": "stack"},
    "lora": {"method": "lora"},
    "adalora": {"method": "adalora"},
    "lora_growth": {"method": "lora_growth"},
    "last_k": {"method": "last_k", "last_k": 1},
    "truncate": {"method": "truncate", "truncate_to": 2},
}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "grnn": ({"name": "grnn"}, {"gru.1": 8}),
    "grnn both ways": ({"name": "grnn", "bidirectional": True, "pooling": "attention"}, {"gru.1": 8}),
    "resnet18": ({"name": "resnet18"}, {"layer2.0": 8}),
    "wav2vec2": ({"name": "wav2vec2"}, {"encoder.2.ffn": 24, "encoder.3.attention": 24}),
}


@pytest.mark.parametrize(
    ("network", "arm"),
    [(network, arm) for network, (model, _) in sorted(NETWORKS.items()) for arm in sorted(ARMS)
     if unfit(ARMS[arm]["method"], model["name"]) is None],
)  # fmt: skip
def test_every_arm_of_every_network(network: str, arm: str) -> None:
    model, neurons = NETWORKS[network]
    config = TrialConfig.model_validate({"model": model, "layers": tuple(neurons), "neurons": neurons, **ARMS[arm]})
    stages = stages_of(config, 100)
    at = [stage.name for stage in stages].index("retrain")
    network = blank(config, stages[:at], CPU)
    cut = learn_(network, config, stages[at])
    for name, parameter in network.module.named_parameters():
        if "pos_conv_embed" in name:  # a grouped convolution, which the counter counts wrongly
            parameter.requires_grad_(False)
    train_mode_(network.module, cut)
    logits, wave_BT = logits_from_wave(network.module, cut), torch.randn(2, 3200)
    same(lambda: logits(wave_BT).square().sum())


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_relatives_of_wav2vec2(kind: str) -> None:
    widths = {"model_type": kind, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
              "intermediate_size": 32, "conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 4],
              "num_feat_extract_layers": 2, "num_conv_pos_embedding_groups": 1,
              "num_conv_pos_embeddings": 4}  # fmt: skip
    module = from_widths(widths, Judged())
    wave_BT = torch.randn(2, 2000)
    same(lambda: module(wave_BT).square().sum())


def test_the_figure_does_not_depend_on_how_attention_is_computed() -> None:
    """The counter misses most of it where a CPU fuses it."""
    module, wave_BT = build("wav2vec2"), torch.randn(2, 3200)
    found = {}
    for kernel in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(kernel):
            found[kernel] = backward_gflop(lambda: module(wave_BT).sum())
    module.backbone.set_attn_implementation("eager")
    eager = backward_gflop(lambda: module(wave_BT).sum())
    assert found[SDPBackend.MATH] == found[SDPBackend.FLASH_ATTENTION] == eager


def test_one_forward_pass_is_all_it_takes() -> None:
    layer, calls = nn.Linear(4, 4), []
    backward_gflop(lambda: calls.append(1) or layer(torch.ones(2, 4)).sum())
    assert calls == [1]
    assert layer.weight.grad is None


def test_what_has_no_formula_is_said_rather_than_left_out() -> None:
    rnn = nn.RNN(3, 4)
    with pytest.raises(TrialError, match="no formula for rnn_tanh; add one to trial/operations"):
        backward_gflop(lambda: rnn(torch.ones(5, 2, 3))[0].sum())
