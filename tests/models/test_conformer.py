"""W2V-BERT 2.0: its extractor's filter banks, the frames of its own forward, feed-forwards that grow."""

from pathlib import Path

import numpy as np
import pytest
import torch

from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.export.shape import shape_of
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config, save_pretrained
from plastsearch.models.catalog import PUBLISHED, SPEECH
from plastsearch.models.kaldi import StackedBank
from plastsearch.models.sites import missing_sites, site_table
from plastsearch.spec.model import ModelConfig
from plastsearch.trial.operations import backward_gflop
from tests.exactness import adding_nothing, close, same
from tests.models.test_detectors import waves


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny W2V-BERT, made without plastsearch."""
    from transformers import AutoConfig, AutoModel, SeamlessM4TFeatureExtractor

    made = tmp_path_factory.mktemp("bert")
    config = AutoConfig.for_model(
        "wav2vec2-bert", hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32
    )
    torch.manual_seed(3)
    AutoModel.from_config(config).save_pretrained(made)
    SeamlessM4TFeatureExtractor().save_pretrained(made)
    return made


def test_frames_are_those_of_its_feature_extractor_and_its_forward(folder: Path) -> None:
    from transformers import AutoModel, SeamlessM4TFeatureExtractor

    wave = np.random.default_rng(0).standard_normal((2, 8123)).astype(np.float32) * 0.1
    theirs = SeamlessM4TFeatureExtractor()(list(wave), sampling_rate=16_000, return_tensors="pt")
    own = StackedBank()(torch.from_numpy(wave))
    assert own.shape[1] == int(theirs.attention_mask.sum(1)[0])  # an odd frame at the end is masked there
    torch.testing.assert_close(own, theirs.input_features[:, : own.shape[1]], atol=2e-4, rtol=1e-4)
    network = build("wav2vec2", source=str(folder)).eval()
    original = AutoModel.from_pretrained(folder).eval()
    close(network.prefix(torch.from_numpy(wave), "head"), original(input_features=own).last_hidden_state)


def test_its_feed_forwards_grow_fold_and_are_pruned_back(folder: Path) -> None:
    network = build("wav2vec2", source=str(folder), head="mhfa").eval().double()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits = network(waves().double())
    for cut in network.cuts():
        close(network.suffix(network.prefix(waves().double(), cut), cut), logits)
    rows = site_table(ModelConfig(from_=str(folder)))
    assert [row.name for row in rows] == [f"encoder.{layer}.{part}" for layer in range(3) for part in ("ffn1", "ffn2")]
    assert {row.name: row.neurons for row in rows} == {name: one.width for name, one in find_sites(network).items()}
    dropin = add_neurons_(
        network, {"encoder.0.ffn2": 5, "encoder.2.ffn1": 3}, generator=torch.Generator().manual_seed(0)
    )
    with adding_nothing(network):
        close(network(waves().double()), logits)
    fold_(network, waves().double())
    close(network(waves().double()), logits)
    remove_neurons_(network, {name: torch.tensor(list(dropin.new_units(name))) for name in dropin.units})
    same(network.state_dict(), before)


def test_attention_is_refused_with_the_reason(folder: Path) -> None:
    network = build("wav2vec2", source=str(folder))
    with pytest.raises(GrowthError, match="scores positions by a table that all heads share"):
        add_neurons_(network, {"encoder.1.attention": 6}, generator=torch.Generator().manual_seed(0))
    (sentence,) = missing_sites(ModelConfig(from_=str(folder)))
    assert "ffn1 and ffn2 of each layer can grow" in sentence
    network.backbone.config.position_embeddings_type = "rotary"
    with pytest.raises(PlastsearchError, match="whose position_embeddings_type is rotary cannot be exported"):
        shape_of(network)


def test_it_is_saved_as_it_came_and_its_operations_are_counted(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor, AutoModel

    network = build("wav2vec2", source=str(folder), seed=2)
    save_pretrained(network, tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.model_type == "wav2vec2-bert"
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path)).__name__ == "SeamlessM4TFeatureExtractor"
    again = from_config(network.plain_config()).eval()
    again.load_state_dict(build("wav2vec2", source=str(tmp_path), seed=5).state_dict())
    close(again(waves()), network.eval()(waves()))
    assert again(waves(2, 400)).isfinite().all()  # a clip of one window
    assert backward_gflop(lambda: network(waves(2))) > backward_gflop(lambda: network(waves(1))) > 0


def test_published_encoders_have_sites_before_their_weights_are_here() -> None:
    assert {widths["model_type"] for widths in PUBLISHED.values()} == set(SPEECH)
    for source, widths in PUBLISHED.items():
        rows = site_table(ModelConfig(from_=source))
        per_layer = {"wavlm": 1, "wav2vec2-bert": 2}.get(widths["model_type"], 3)
        assert len(rows) == per_layer * widths["num_hidden_layers"]
    assert len(site_table(ModelConfig(from_="facebook/wav2vec2-xls-r-300m@main"))) == 72
