"""A small sweep with real weights: trials of a few steps, their stages in a store, a journal as a driver writes it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.events import Ended, Finished, Opened, Proposed, SessionBegun, Started
from plastsearch.tracking.journal import Journal
from plastsearch.tracking.reading import VERSION
from plastsearch.trial.run import run_trial

BASE: dict[str, Any] = {
    "model": {"name": "grnn"}, "data": {"clips": 48, "length_samples": 8000},
    "train": {"steps": 12, "batch_size": 8, "lr": 0.003}, "calibration_clips": 16, "timing_steps": 3, "timing_batch": 2,
}  # fmt: skip
SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.2.ffn"}


def settings_in(root: Path, cache: Path) -> RunSettings:
    """Everything below one root, as the sweeps of that root have it."""
    return RunSettings.model_validate(
        {
            "store": root / "store", "cache": cache, "device": "cpu", "cache_prefix": False, "exclusive_timing": False,
        }
    )  # fmt: skip


def three_sweeps(root: Path, networks: Iterable[str] = SITES) -> Path:
    """One sweep for each network: trial 0 the baseline, 1 grown, 2 grown and pruned, 3 a finalist of 1 with seed 3."""
    torch.set_num_threads(1)
    for network in networks:
        site = SITES[network]
        common = {"model": {"name": network}, "layers": (site,), "neurons": 16 if network == "wav2vec2" else 4}
        asked = [
            {"model": {"name": network}, "method": "baseline"},
            {**common, "method": "dropin"},
            {**common, "method": "plasticity"},
            {**common, "method": "dropin", "seed": 3, "of": 1, "role": "finalist"},
        ]
        trained_sweep(root, root / "cache", network, asked)
    return root


def trained_sweep(root: Path, cache: Path, name: str, asked: list[Mapping[str, Any]]) -> Path:
    """Run each configuration (changes of BASE; the first is the baseline) and write the journal of a finished sweep."""
    folder = root / name
    folder.mkdir(parents=True)
    spec = SweepSpec.model_validate(
        {
            "name": name, "question": "Does it find its way back?", "base": BASE,
            "space": {
                "layers": {"kind": "choice", "of": [["gru.0"], ["gru.1"]]},
                "neurons": {"kind": "choice", "of": [2, 4]},
            },
            "objectives": [{"metric": "dev_eer", "goal": "min"}, {"metric": "params_total", "goal": "min"}],
        }
    )  # fmt: skip
    with Journal(folder) as journal:
        journal.append(Opened(version=VERSION, name=name, spec=spec.plain(), spec_hash=spec.spec_hash()))
        journal.append(SessionBegun(session="1", pid=1, host="here"))
        for number, changes in enumerate(asked):
            journal_one(journal, number, changes, settings_in(root, cache))
        journal.append(Finished(status="done", seconds=1.0))
    return folder


def journal_one(journal: Journal, number: int, changes: Mapping[str, Any], settings: RunSettings) -> None:
    """One trial from its proposal to its end; `of` and `again` make it a finalist that repeats an earlier one."""
    changes = dict(changes)
    of, role = changes.pop("of", None), changes.pop("role", "search")
    merged = {**BASE, **changes}
    for section in ("model", "data", "train"):
        merged[section] = {**BASE[section], **changes.get(section, {})}
    config = TrialConfig.model_validate(merged)
    control = "baseline" if config.method == "baseline" else None
    plain = config.model_dump(mode="json", by_alias=True)
    journal.append(
        Proposed(trial=number, id=config.trial_id(), role="control" if control else role, control=control, params={},
                 config=plain, of=of, seed=config.seed if of is not None else None)
    )  # fmt: skip
    journal.append(Started(trial=number, attempt=1))
    *_, last = run_trial(config, settings)
    journal.append(
        Ended(trial=number, attempt=1, state="done", metrics=last.metrics, details=dict(last.details), seconds=1.0,
              fidelity=1.0)
    )  # fmt: skip
