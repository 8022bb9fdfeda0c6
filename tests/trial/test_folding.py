"""A trial folds on an example of its own clips, so a fold that changed the function would end it with the reason."""

import sys
from pathlib import Path

import pytest

from plastsearch.errors import GrowthError
from plastsearch.growth import folding as fold
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import SITES, make_config


@pytest.mark.parametrize("name", sorted(SITES))
def test_a_wrong_fold_ends_a_trial_before_anything_is_pruned(name, settings, monkeypatch) -> None:
    """As if the rules that move the new neurons' weights had moved them by a millionth."""
    merge, branch = fold.merge, fold._branch_tensor
    monkeypatch.setattr(fold, "merge", lambda chain: {key: w + 1e-6 for key, w in merge(chain).items()})
    monkeypatch.setattr(fold, "_branch_tensor", lambda *args: branch(*args) + 1e-6)
    config = make_config(model={"name": name}, layers=(SITES[name],), method="plasticity", regime="frozen",
                         train={"steps": 6, "evaluations": 1})  # fmt: skip
    with pytest.raises(GrowthError, match=r"folding '[\w.]+' would change what the network computes: output 1 of 1 by"):
        list(run_trial(config, settings()))
