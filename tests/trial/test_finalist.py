"""The finalists step: the network as `train` left it is scored on the same clips, with intervals."""

from plastsearch.trial.finalist import run_finalist
from tests.trial.conftest import MakeSettings, make_config


def test_the_baseline_beside_a_finalist_has_both_error_rates_and_their_intervals(settings: MakeSettings) -> None:
    *_, last = run_finalist(make_config(), settings(), baseline=True)
    found = last.metrics
    for split in ("dev", "eval"):
        name = f"{split}_eer_baseline"
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    *_, plain = run_finalist(make_config(), settings())
    assert plain.metrics["dev_eer_baseline"] == found["dev_eer_baseline"]  # scored anew, the same
    assert not any(name.startswith("eval_eer_baseline") for name in plain.metrics)
