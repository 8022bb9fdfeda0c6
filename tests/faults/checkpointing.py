"""A trial of many short steps that keeps a checkpoint as real ones do: when it is asked to end, and goes on there."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from plastsearch.files import whole_file
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.training.checkpoint import Stopped, stop_on_sigterm
from tests.sweep.fake_trials import quality

FUNCTION = "tests.faults.checkpointing:trial"
STEPS = 40


def trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """Steps of FAKE_TRIAL_S / STEPS each; its details say at which steps its attempts began."""
    path = Path(settings.store) / f"fake-{config.trial_id()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    done, began_at = json.loads(path.read_text()) if path.exists() else (0, [])
    began_at = [*began_at, done]
    final = quality(config)
    with stop_on_sigterm() as stop:
        for step in range(done + 1, STEPS + 1):
            time.sleep(float(os.environ.get("FAKE_TRIAL_S", "0")) / STEPS)
            if stop():
                with whole_file(path) as draft:
                    draft.write_text(json.dumps([step, began_at]))
                raise Stopped
            if step % (STEPS // 4) == 0:
                yield Report("train", step, STEPS, {"dev_eer": final["dev_eer"]})
        yield Report("result", STEPS, STEPS, final, final=True, details={"began_at": began_at})
