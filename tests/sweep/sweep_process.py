"""A driver to be killed: one sweep of fake trials in this process. Arguments: folder, trials, seed."""

import sys
from pathlib import Path

from plastsearch.sweep.budget import Limits
from plastsearch.sweep.halting import Halting
from tests.sweep.conftest import OBJECTIVES, Rig
from tests.sweep.fake_trials import Dice


def rig(folder: Path, n_trials: int, seed: int) -> Rig:
    """The sweep that every kill test runs, whole or in pieces."""
    halting = Halting("moasha", OBJECTIVES, rungs=(0.2, 0.5), least=3)
    return Rig(folder, Dice(seed), Limits(trials=n_trials), options={"halting": halting})


if __name__ == "__main__":
    rig(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).run()
