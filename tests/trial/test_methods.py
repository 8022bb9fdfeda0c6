"""Every method takes the same total of steps, and trials share a key exactly where they agree."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastsearch.errors import TrialError
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.data import DataConfig
from plastsearch.spec.methods import METHODS
from plastsearch.spec.training import StageValues, TrainConfig
from plastsearch.trial.keys import Environment, stage_keys
from plastsearch.trial.methods import stages_of

AROUND = Environment(data="d", weights="", device="cpu", precision="float32", torch="2.11")


def keys(**changes: object) -> list[str]:
    config = TrialConfig.model_validate({"layers": ("encoder.1.ffn",), "neurons": 8, "method": "plasticity"} | changes)
    return [key.key for key in stage_keys(config, stages_of(config, 240), AROUND)]


@given(
    st.integers(12, 5000), st.sampled_from(sorted(METHODS)), st.sampled_from(["warm", "cold"]),
    st.sampled_from(["frozen", "unfrozen"]), st.tuples(*[st.floats(0.1, 1)] * 3),
)  # fmt: skip
def test_every_method_takes_the_same_steps(total, method, start, regime, shares) -> None:
    train = TrainConfig(steps=total, shares=StageValues(train=shares[0], retrain=shares[1], consolidate=shares[2]))
    config = TrialConfig(method=method, start=start, regime=regime, train=train)
    stages = stages_of(config, 240)
    assert sum(stage.steps for stage in stages) == total
    assert all(stage.steps >= 1 for stage in stages if stage.learns != "nothing")


def test_train_has_one_length_for_all_methods() -> None:
    lengths = {stages_of(TrialConfig(method=method), 240)[0].steps for method in METHODS}
    assert lengths == {100}


def test_learning_rates_fall_by_stage() -> None:
    stages = stages_of(TrialConfig(method="plasticity"), 240)
    assert [stage.lr for stage in stages if stage.steps] == pytest.approx([1e-3, 5e-4, 1e-4])


def test_epochs_are_passes_over_the_clips() -> None:
    config = TrialConfig(train=TrainConfig(epochs=4, batch_size=16))
    assert sum(stage.steps for stage in stages_of(config, 240)) == 60


def test_shares_that_leave_nothing_for_retrain_are_refused() -> None:
    config = TrialConfig(method="plasticity", train=TrainConfig(shares=StageValues(train=1, retrain=0, consolidate=1)))
    with pytest.raises(TrialError, match="leave none for retrain"):
        stages_of(config, 240)


def test_trials_that_differ_in_the_criterion_share_all_but_the_last_stages() -> None:
    a, b = keys(criterion="taylor"), keys(criterion="random")
    assert a[:3] == b[:3]
    assert not set(a[3:]) & set(b[3:])


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"layers": ("encoder.2.ffn",)}, 1), ({"regime": "unfrozen"}, 1), ({"timing_steps": 5}, 5), ({"seed": 1}, 0),
        ({"train": {"lr": 0.01}}, 0), ({"data": {"augment": ("spec_masks",)}}, 0), ({"method": "dropin"}, 2),
        ({"train": {"train_head": False}}, 2), ({"data": {"balance": "none"}}, 0), ({"rank": 4}, 5),
    ],
)  # fmt: skip
def test_a_key_changes_with_what_its_stage_reads_and_with_nothing_else(change, shared) -> None:
    plain, changed = keys(), keys(**change)
    agree = [a == b for a, b in zip(plain, changed, strict=False)]
    assert agree == [True] * shared + [False] * (len(agree) - shared)


def test_a_trial_that_shares_nothing_has_keys_of_its_own() -> None:
    config = TrialConfig(method="dropin", layers=("encoder.1.ffn",), neurons=8)
    shared = stage_keys(config, stages_of(config, 240), AROUND)
    own = stage_keys(config, stages_of(config, 240), Environment(**(vars(AROUND) | {"owner": config.trial_id()})))
    assert not {key.key for key in shared} & {key.key for key in own}


def test_data_defaults_spelt_out_change_no_key() -> None:
    assert keys() == keys(data=DataConfig(balance="weights").model_dump())


def test_other_recordings_for_augmentation_are_another_training() -> None:
    config = TrialConfig(method="baseline", data=DataConfig(augment=("noise:fans",)))
    one, two = (stage_keys(config, stages_of(config, 240), replace(AROUND, recordings=content)) for content in "ab")
    assert not {stage.key for stage in one} & {stage.key for stage in two}
