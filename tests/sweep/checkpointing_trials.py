"""A fake trial that holds a stage and checkpoints in it before every report, as real ones do."""

from collections.abc import Iterator

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.store.stages import StageStore
from plastsearch.training.checkpoint import Checkpoints
from tests.sweep import fake_trials


def trial(config: TrialConfig, settings: RunSettings) -> Iterator[Report]:
    """The reports and the result of `fake_trials.trial`."""
    store, key = StageStore(settings.store), f"stage-of-{config.trial_id()}"
    with store.claim(key, defer=False):
        for report in fake_trials.trial(config, settings):
            Checkpoints(store.work(key), 0, config.trial_id()).save({"step": report.step})
            yield report
