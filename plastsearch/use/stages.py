"""The networks that a trial passed through: what each of its stored stages left, folded like the final one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from plastsearch.models.build import from_config
from plastsearch.models.detector import Detector
from plastsearch.spec.config import TrialConfig
from plastsearch.store.records import StageRecord
from plastsearch.store.stages import StageStore
from plastsearch.tracking.records import TrialRecord
from plastsearch.trial.lora import merge_lora_
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import blank, load_weights
from plastsearch.use.found import MANY_CLIPS, chain_of, choose, config_of, fold_where_possible_, last_stage
from plastsearch.use.references import InSweep


@dataclass(frozen=True)
class TrialStages:
    """A trial's stored stages from the first that is left to the last."""

    folder: Path  # of the sweep
    record: TrialRecord
    config: TrialConfig
    store: StageStore
    chain: Sequence[StageRecord]

    def last(self, name: str) -> StageRecord | None:
        """The last stage of that name: a trial that grows in several insertions has several."""
        return next((one for one in reversed(self.chain) if one.stage == name), None)

    def network(self, stage: StageRecord) -> Detector:
        """The network as a stage left it, in eval mode."""
        at = self.chain.index(stage)
        stages = stages_of(self.config, MANY_CLIPS)
        lost = len(stages) - len(self.chain)
        plain = next((one.details["network"] for one in self.chain if "network" in one.details), None)
        network = blank(
            self.config, stages[: lost + at + 1], torch.device("cpu"), stage.details.get("placed", []),
            None if plain is None else from_config(plain),
        )  # fmt: skip
        load_weights(network, self.store.load(stage.key))
        if network.adapters:
            merge_lora_(network.module)
        fold_where_possible_(network.module)
        return network.module.eval()


def stages_from_sweep(reference: InSweep) -> TrialStages:
    """The stages of the trial that a reference means."""
    results = load_results(reference.folder)
    record = choose(results, reference)
    config = config_of(record, results.folder)
    store, last = last_stage(results.folder, record)
    chain = chain_of(store, last)
    if len(chain) > len(stages_of(config, MANY_CLIPS)):
        raise PlastsearchError(f"{results.folder}: trial {record.number} has more stages than its method knows")
    return TrialStages(results.folder, record, config, store, chain)
