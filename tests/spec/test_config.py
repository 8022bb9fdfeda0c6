"""A configuration is its content: one id for all that means the same, another for all else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plastsearch.spec.coherence import paths, set_at, value_at
from plastsearch.spec.config import LATER, TrialConfig, content_id
from plastsearch.spec.data import CROPS, DataConfig
from plastsearch.spec.model import ModelConfig


@given(st.randoms(use_true_random=False))
def test_the_id_ignores_the_order_of_keys_and_defaults_that_are_spelt_out(random):
    plain = TrialConfig(layers=("gru.1",), neurons=8).model_dump(mode="json", by_alias=True)
    keys = list(plain)
    random.shuffle(keys)
    shuffled = TrialConfig.model_validate_json(json.dumps({key: plain[key] for key in keys}))
    short = TrialConfig.model_validate({"layers": ("gru.1",), "neurons": 8})
    assert shuffled.trial_id() == short.trial_id()
    assert len(short.trial_id()) == 12


@pytest.mark.parametrize(
    ("path", "value"),
    [("seed", 1), ("train.lr", 0.5), ("data.crops", "fresh"), ("model.from", "/weights"), ("criterion", "random")],
)
def test_the_id_follows_every_value(path, value):
    plain = TrialConfig()
    changed = set_at(plain, {path: value})
    assert value_at(changed, path) == value
    assert changed.trial_id() != plain.trial_id()
    assert set_at(changed, {path: value_at(plain, path)}).trial_id() == plain.trial_id()


def test_every_path_leads_to_a_value():
    config = TrialConfig()
    for path in paths():
        value_at(config, path)
    assert len(set(paths())) == len(paths())


def test_growth_names_sites_in_their_order_and_leaves_zeros_out():
    assert TrialConfig(layers=("b", "a"), neurons=4).growth() == {"b": 4, "a": 4}
    assert list(TrialConfig(layers=("b", "a"), neurons=4).growth()) == ["b", "a"]
    assert TrialConfig(neurons={"a": 0, "b": 2}).growth() == {"b": 2}
    assert TrialConfig(layers=("a",)).growth() == {}


def test_a_section_is_closed_and_frozen():
    with pytest.raises(ValidationError, match="Extra inputs"):
        TrialConfig.model_validate({"stepz": 3})
    with pytest.raises(ValidationError, match="frozen"):
        TrialConfig().seed = 2
    with pytest.raises(ValidationError, match="give steps or epochs, not both"):
        TrialConfig.model_validate({"train": {"steps": 3, "epochs": 1}})


def test_old_journals_that_say_null_crops_are_still_read():
    assert DataConfig.model_validate({"crops": None}).crops == CROPS


def test_settings_that_came_later_leave_older_ids_alone():
    """The id of this configuration before there was any of them."""
    config = TrialConfig(method="plasticity", layers=("gru.1",), neurons=8)
    plain = config.model_dump(mode="json", by_alias=True) | {"model": config.model.identity()}
    for path in LATER:
        section, _, name = path.rpartition(".")
        del (plain[section] if section else plain)[name]
    assert config.trial_id() == content_id(plain)
    assert config.trial_id() == "3ae2ee85df54"
    others = {
        "lora_share": 0.125, "adaptive_steps": 2, "adaptive_score": "natural", "train.encoder_lr_ratio": 0.1,
        "train.layer_decay": 0.9, "train.average_best": 3, "train.checkpoint_layers": True,
        "train.train_stem": False,
        "data.score": "windows", "data.speech_s": 0.5, "data.bona_fide_share": 0.5, "kernel": 7,
        "train.grow_at": 0.25, "newborn_lr_ratio": 2.0, "newborn_state": "inherited",
        "newborn_gate": "learned",
    }  # fmt: skip
    assert set(others) == set(LATER)
    for path, value in others.items():
        section, _, name = path.rpartition(".")
        inner = getattr(config, section).model_copy(update={name: value}) if section else value
        assert config.model_copy(update={section or name: inner}).trial_id() != config.trial_id()


AS_BEFORE = {"normalise": "clip", "stem": "quarter"}


@pytest.mark.parametrize(
    ("model", "before"),
    [
        ({"name": "resnet18", **AS_BEFORE}, "dc194109e96f"),
        ({"name": "resnet18", "preset": "base", "normalise": "clip"}, "bf28142d827b"),
        ({"name": "grnn", "normalise": "clip"}, "27be35cfacaa"),
    ],
)
def test_a_network_told_to_be_as_it_was_before_has_the_id_from_before(model, before):
    """Ids as they were when nothing could be said of normalisation and stem; left open, both are others now."""
    config = TrialConfig(model=ModelConfig(**model), method="dropin", neurons=4)
    assert config.trial_id() == before
    opened = {key: value for key, value in model.items() if key not in AS_BEFORE}
    left_open = TrialConfig(model=ModelConfig(**opened), method="dropin", neurons=4)
    assert left_open.trial_id() != before
    spelt = ModelConfig(
        **opened, normalise="corpus", stem="half" if model == {"name": "resnet18", **AS_BEFORE} else None
    )
    assert left_open.trial_id() == TrialConfig(model=spelt, method="dropin", neurons=4).trial_id()
    for name, value in {"deltas": 1, "masks": 2, "normalise": "none"}.items():
        assert config.model_copy(update={"model": ModelConfig(**{**model, name: value})}).trial_id() != before


def test_ids_of_numbers_and_words_differ():
    assert content_id({"a": 1}) != content_id({"a": "1"})
