"""What relevance must add up to, and that a network is afterwards as it was."""

from functools import cache

import pytest
import torch

from plastsearch.errors import PlastsearchError
from plastsearch.explain.inputs import Inputs, row_khz
from plastsearch.explain.relevance import (
    METHODS,
    Settings,
    check_method,
    default_layer,
    explain,
    integrated_gradients,
    methods_for,
)
from plastsearch.models.build import build

NETWORKS = ("grnn", "lcnn", "resnet18", "wav2vec2")


@cache
def network(name, **choices):
    """A tiny network with random weights, whose scores differ enough from clip to clip."""
    detector = build(name, "tiny", seed=3, **choices).eval()
    with torch.no_grad():
        detector.head.weight.mul_(50 if name == "lcnn" else 5)  # an LCNN's frames are small
    return detector


def wave(samples=8000):
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_cut_behind_its_front_end_scores_as_the_whole(name):
    detector = network(name)
    inputs = Inputs(detector)
    logits = detector(wave())
    with torch.no_grad():
        found = inputs.logit(inputs.read(wave()))
    torch.testing.assert_close(found, logits[:, 1] - logits[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(detector(wave()), logits, rtol=0, atol=0)  # its front end is back


@pytest.mark.parametrize("name", NETWORKS)
def test_integrated_gradients_share_out_the_whole_distance_from_the_clip_held_still(name):
    inputs = Inputs(network(name))
    read = inputs.read(wave())
    found = explain(inputs, "integrated-gradients", read[0], Settings(steps=64))
    with torch.no_grad():
        distance = float(inputs.logit(read) - inputs.logit(inputs.held_still(read)))
    assert abs(distance) > 0.01
    assert float(found.map.sum()) == pytest.approx(distance, rel=0.1)
    assert found.missed == pytest.approx(abs(float(found.map.sum()) - distance) / abs(distance), abs=1e-4)


def test_integrated_gradients_of_a_line_are_its_terms():
    class Line:
        has_bands, weight = True, torch.arange(6.0).reshape(2, 3)

        def held_still(self, read):
            return read.mean(2, keepdim=True).expand_as(read)

        def logit(self, read):
            return (read * self.weight).sum((1, 2))

    line, read = Line(), torch.tensor([[[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]])
    found = integrated_gradients(line, read, Settings(steps=2))
    torch.testing.assert_close(found.map, ((read - line.held_still(read)) * line.weight)[0])
    assert found.missed == pytest.approx(0, abs=1e-6)


def test_grad_cam_of_the_last_block_under_a_mean_adds_up_to_the_score_without_its_bias():
    detector = network("resnet18")
    inputs = Inputs(detector)
    read = inputs.read(wave())
    found = explain(inputs, "grad-cam", read[0], Settings(layer="layer4.1"))
    bias = detector.head.bias
    with torch.no_grad():
        score = float(inputs.logit(read) - (bias[1] - bias[0]))
    assert found.map.shape == read[0].shape
    assert float(found.map.sum()) == pytest.approx(score, rel=0.15)  # a bilinear drawing does not keep sums exactly
    frames = explain(Inputs(network("grnn")), "grad-cam", Inputs(network("grnn")).read(wave())[0], Settings())
    assert frames.map.shape[0] == 1  # cepstral rows have no place in kHz


def test_attention_relevance_of_one_layer_is_gradient_times_attention():
    detector = build("wav2vec2", "tiny", seed=3).eval()
    detector.truncate_(1)
    inputs = Inputs(detector)
    read = inputs.read(wave())
    before = detector.backbone.config._attn_implementation
    found = explain(inputs, "attention", read[0], Settings())
    assert detector.backbone.config._attn_implementation == before
    layer = detector.backbone.encoder.layers[0].attention

    hidden = inputs.stem(read).detach()
    normed = detector.backbone.encoder.layers[0].layer_norm(hidden)
    shape = (1, hidden.shape[1], -1, layer.head_dim)
    query, key, value = (
        proj(normed).view(shape).transpose(1, 2) for proj in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    weights = ((query @ key.transpose(2, 3)) * layer.scaling).softmax(-1).detach().requires_grad_(True)
    attended = layer.out_proj((weights @ value).transpose(1, 2).reshape(hidden.shape))
    block = detector.backbone.encoder.layers[0]
    rest = hidden + attended
    rest = rest + block.feed_forward(block.final_layer_norm(rest))
    logits = detector.classify(detector.frames(rest))
    (slope,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), weights)
    expected = (slope * weights).detach().mean((0, 1)).mean(0)
    torch.testing.assert_close(found.map[0], expected / expected.abs().sum(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_explaining_leaves_a_network_as_it_was(name):
    detector = network(name)
    inputs = Inputs(detector)
    flags = [one.requires_grad for one in detector.parameters()]
    score = detector(wave())
    for method in methods_for(inputs):
        found = explain(inputs, method, inputs.read(wave())[0], Settings(steps=4))
        assert torch.isfinite(found.map).all()
        assert float(found.map.abs().max()) > 0
    assert [one.requires_grad for one in detector.parameters()] == flags
    assert all(one.grad is None for one in detector.parameters())
    torch.testing.assert_close(detector(wave()), score, rtol=0, atol=0)


def test_a_spiking_network_and_attention_pooling_can_be_explained():
    for name, choices in (("resnet18", {"activation": "lif"}), ("wav2vec2", {"pooling": "attention"})):
        inputs = Inputs(build(name, "tiny", seed=3, **choices).eval())
        for method in methods_for(inputs):
            found = explain(inputs, method, inputs.read(wave())[0], Settings(steps=4))
            assert torch.isfinite(found.map).all()


def test_what_fits_no_network_is_refused_with_a_way_out():
    spectrogram, encoder = Inputs(network("resnet18")), Inputs(network("wav2vec2"))
    with pytest.raises(PlastsearchError, match="has no attention; take grad-cam"):
        check_method(spectrogram, "attention", Settings())
    with pytest.raises(PlastsearchError, match=r"no such block; this network has encoder\.0"):
        check_method(encoder, "grad-cam", Settings(layer="layer4.1"))
    assert default_layer(spectrogram) == "layer3.1"
    assert default_layer(encoder) == "encoder.5"
    assert set(METHODS) == {"grad-cam", "integrated-gradients", "attention"}


def test_wavlm_keeps_no_attention_to_look_at():
    from plastsearch.models.build import from_config

    plain = {**network("wav2vec2").plain_config(), "model_type": "wavlm"}
    inputs = Inputs(from_config(plain))
    assert methods_for(inputs)[0] == "integrated-gradients"
    with pytest.raises(PlastsearchError, match="one fused call"):
        check_method(inputs, "attention", Settings())


def test_bands_rise_to_half_the_rate():
    bands = row_khz(network("resnet18").front_end)
    assert (bands[1:] > bands[:-1]).all()
    assert 7 < bands[-1] < 8
