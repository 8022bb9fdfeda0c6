"""Laws of every network: where it is cut does not matter, seeds decide, a folder gives it back."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.growth.criteria import score
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.freeze import freeze_base_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.catalog import TRANSFORMERS
from plastsearch.models.detector import build_pool
from tests.exactness import adding_nothing, close, same

NAMES = ["wav2vec2", "resnet18", "grnn", "lcnn"]
POOLINGS = ["mean", "attention", "mean_std"]


def waves(clips: int = 3, samples: int = 8000) -> torch.Tensor:
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(1))


def hugging(kind: str, folder: Path, **more: Any) -> Path:
    """A tiny transformers folder, made without plastsearch."""
    from transformers import AutoConfig, AutoModel

    values = {
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        **more,
    }
    torch.manual_seed(3)
    AutoModel.from_config(AutoConfig.for_model(kind, **values)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_cutting_anywhere_gives_the_same_logits(name: str, pooling: str) -> None:
    network = build(name, pooling=pooling).eval()
    logits = network(waves())
    assert logits.shape == (3, 2)
    assert logits.dtype == torch.float32
    for cut in network.cuts():
        close(network.suffix(network.prefix(waves(), cut), cut), logits)


@pytest.mark.parametrize("name", NAMES)
def test_the_cut_lies_below_every_given_site(name: str) -> None:
    network = build(name)
    sites = list(find_sites(network))
    for i, site in enumerate(sites):
        cut = network.cut_below(sites[i:])
        assert site == cut or site.startswith(cut + ".")
    assert network.cut_below([]) == "head"
    with pytest.raises(GrowthError, match=r"no block holds the site encoder\.99\.ffn"):
        network.cut_below(["encoder.99.ffn"])
    with pytest.raises(GrowthError, match="no cut 'somewhere'; known: "):
        network.prefix(waves(), "somewhere")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_below_the_cut_is_reached_by_gradients(name: str) -> None:
    """In train mode with only the head learning, autograd makes no node below the head."""
    network = build(name).train()
    freeze_base_(network, network.head_modules())
    wave = waves()
    hidden = network.prefix(wave, "head")
    assert not hidden.requires_grad
    assert not wave.requires_grad
    network.suffix(hidden, "head").sum().backward()
    learning = {key for key, parameter in network.named_parameters() if parameter.grad is not None}
    assert {key.split(".")[0] for key in learning} == {"head"}


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(one.state_dict().values(), same.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_saved_folder_gives_the_network_back(name: str, pooling: str, tmp_path: Path) -> None:
    network = build(name, pooling=pooling, bidirectional=name == "grnn", seed=4).eval()
    network.train()(waves())  # moves BatchNorm statistics
    network.eval()
    save_pretrained(network, tmp_path)
    loaded = build(name, source=str(tmp_path), pooling=pooling, seed=9).eval()
    same(loaded.state_dict(), network.state_dict())
    close(loaded(waves()), network(waves()))
    other = build(name, source=str(tmp_path), pooling="mean" if pooling != "mean" else "attention").eval()
    assert other(waves()).isfinite().all()  # another pooling: the body is loaded, the head is new


@pytest.mark.parametrize("name", NAMES)
def test_plain_config_is_json_and_gives_the_architecture(name: str) -> None:
    network = build(name, pooling="mean_std", dropout=0.1)
    again = from_config(json.loads(json.dumps(network.plain_config())))
    again.load_state_dict(network.state_dict(), strict=True)
    close(again.eval()(waves()), network.eval()(waves()))


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize("more", [{}, {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}])
def test_a_transformers_folder_gives_the_frames_of_its_own_forward(kind: str, more: dict, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = hugging(kind, tmp_path / kind, **more)
    original = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    network = build("wav2vec2", source=str(folder)).eval().double()
    wave = waves().double()
    normal = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, correction=0, keepdim=True) + 1e-7).sqrt()
    expected = original(normal).last_hidden_state
    torch.testing.assert_close(network.prefix(wave, "head"), expected, atol=1e-10, rtol=1e-9)
    for cut in network.cuts():
        close(network.suffix(network.prefix(wave, cut), cut), network(wave))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_what_is_saved_is_an_ordinary_transformers_folder(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    network = build("wav2vec2", source=str(hugging(kind, tmp_path / "in"))).eval()
    save_pretrained(network, tmp_path / "out")
    loaded, notes = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not notes["missing_keys"]
    assert not notes["unexpected_keys"]
    own = network.backbone.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_relatives_of_wav2vec2_grow_fold_and_are_scored(kind: str, tmp_path: Path) -> None:
    network = build("wav2vec2", source=str(hugging(kind, tmp_path))).eval()
    logits = network(waves())
    neurons = {"encoder.1.ffn": 5} | ({"encoder.2.attention": 6} if kind == "hubert" else {})
    add_neurons_(network, neurons, mode="frozen", generator=torch.Generator().manual_seed(0))
    with adding_nothing(network):
        close(network(waves()), logits)
    plain = fold(network, waves())
    torch.testing.assert_close(plain(waves()), logits, atol=1e-5, rtol=1e-4)
    added = {"encoder.1.ffn": 5, "encoder.2.attention": 1}
    names = ["taylor", "entropy", "magnitude", "newest"]
    batches = [(waves(), torch.tensor([0, 1, 1]))]
    loss = functools.partial(nn.functional.cross_entropy, reduction="none")
    found = score(plain, list(neurons), names, batches, loss, torch.Generator(), added)
    for site in neurons:
        new = list(range(find_sites(plain)[site].units))[-added[site] :]
        assert all(found["taylor"][site][j] == 0 for j in new)  # their outgoing weights are still zero
        assert sorted(found["newest"][site].argsort(stable=True)[: added[site]].tolist()) == new


def test_grown_widths_are_not_saved_as_if_they_were_the_config(tmp_path: Path) -> None:
    network = build("wav2vec2")
    add_neurons_(network, {"encoder.1.ffn": 8}, mode="frozen", generator=torch.Generator().manual_seed(0))
    with pytest.raises(PlastsearchError, match="fold it before saving"):
        save_pretrained(network, tmp_path)
    with pytest.raises(PlastsearchError, match=r"'encoder.1.ffn' has 136 neurons where the network's config says 128"):
        save_pretrained(fold(network, waves()), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_count_in_the_pooling(name: str) -> None:
    network = build(name).eval()
    hidden = network.prefix(waves(), "head")
    half = torch.full((3,), 0.5)
    kept = int(-(-hidden.shape[1] // 2))
    spoilt = hidden.clone()
    spoilt[:, kept:] += 100
    close(network.suffix(spoilt, "head", half), network.suffix(hidden, "head", half))
    torch.testing.assert_close(network.suffix(hidden[:, :kept], "head"), network.suffix(hidden, "head", half))
    whole = network(waves(), torch.full((3,), 8000))
    torch.testing.assert_close(whole, network(waves()))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_constant_clip_gives_finite_gradients(pooling: str) -> None:
    frames = torch.ones(2, 5, 4, requires_grad=True)
    build_pool(pooling, 4)(frames).sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_silence_gives_finite_logits(name: str) -> None:
    assert build(name).eval()(torch.zeros(2, 8000)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_moves_the_scores_little_and_keeps_them_in_float32(name: str) -> None:
    network = build(name).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = network(waves())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, network(waves()), atol=0.02, rtol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_truncation_keeps_the_lowest_blocks_and_still_runs(name: str) -> None:
    network = build(name, preset="small" if name == "grnn" else "tiny").eval()
    expected = network.prefix(waves(), network.cuts()[2])
    network.truncate_(2)
    assert len(network.blocks()) == 2
    hidden = network.prefix(waves(), network.cuts()[1])
    assert network.run_block(network.blocks()[1][1], hidden).shape == expected.shape
    close(network.run_block(network.blocks()[1][1], hidden), expected)
    assert network(waves()).shape == (3, 2)
    with pytest.raises(GrowthError, match="cannot keep the first 3 of 2 blocks"):
        network.truncate_(3)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    network = build(name, pooling="attention")
    nn.functional.cross_entropy(network(waves()), torch.tensor([0, 1, 0])).backward()
    dead = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert not dead


def test_weights_that_are_not_there_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PlastsearchError, match="gives no weights"):
        build("wav2vec2", source="nobody/nothing")
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    with pytest.raises(PlastsearchError, match="gives no weights"):
        build("wav2vec2", source=str(tmp_path))
    with pytest.raises(PlastsearchError, match="trained at 16000 Hz, not 8000"):
        build("wav2vec2", source=str(hugging("wav2vec2", tmp_path)), rate_hz=8000)
