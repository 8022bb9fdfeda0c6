"""A model out of a sweep: which trial, its stages in the store, and what is known of it."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from pydantic import JsonValue, ValidationError

from plastsearch.analysis.results import Results, load_results
from plastsearch.errors import GrowthError, PlastsearchError
from plastsearch.files import plain as as_json
from plastsearch.growth.checkpoint import plan_of
from plastsearch.growth.folding import fold_
from plastsearch.models.build import from_config
from plastsearch.models.detector import Detector
from plastsearch.scores.clip_scores import read_clip_scores
from plastsearch.scores.metrics import eer
from plastsearch.spec.config import TrialConfig
from plastsearch.store.records import StageRecord
from plastsearch.store.stages import StageStore
from plastsearch.tracking.records import TrialRecord
from plastsearch.trial.lora import merge_lora_
from plastsearch.trial.methods import stages_of
from plastsearch.trial.networks import TrialNetwork, blank, load_weights
from plastsearch.use.calibrations import kept_calibration, of_sweep
from plastsearch.use.facts import Facts
from plastsearch.use.opened import SAMPLED, opened_names, sample_of
from plastsearch.use.references import InSweep

STORE = "store"  # beside the sweeps of one root
MANY_CLIPS = 1 << 30  # only shapes are wanted, and these do not depend on the number of steps


def from_sweep(reference: InSweep) -> tuple[Detector, Facts]:
    """The trial's final network as an ordinary one: folded, adapters merged, plain weights."""
    results = load_results(reference.folder)
    record = choose(results, reference)
    config = config_of(record, results.folder)
    store, last = last_stage(results.folder, record)
    chain = chain_of(store, last)
    network = _network(config, chain)
    load_weights(network, store.load(last.key))
    detector = network.module
    if network.adapters:
        merge_lora_(detector)
    fold_where_possible_(detector)
    name = f"{results.folder.name}:{record.number}"
    facts = Facts(
        name=name,
        network=cast("dict[str, JsonValue]", as_json(detector.plain_config())),
        growth=cast("dict[str, JsonValue]", json.loads(plan_of(detector).to_json())),
        rate_hz=config.data.rate_hz,
        length_samples=config.data.length_samples,
        storage=config.data.storage,
        threshold=_threshold(store, last.key),
        calibration=kept_calibration(of_sweep(results.folder, last.key)),
        found=_found(results, record, last.key),
    )
    return detector.eval(), facts


def choose(results: Results, reference: InSweep) -> TrialRecord:
    """The record that a reference means; it has a finished model."""
    if isinstance(reference.which, str):
        row = results.winner if reference.which == "best" else results.knee
        if row is None:
            raise PlastsearchError(
                f"{results.folder}: no {reference.which} yet: no trial within the limits has finished; name one, "
                f"as in {results.folder}:0"
            )
        record = row.record
    else:
        records = {row.number: row.record for row in results.every}
        if reference.which not in records:
            raise PlastsearchError(
                f"{results.folder}: no trial {reference.which}; its trials are 0 to {max(records, default=0)}"
            )
        record = records[reference.which]
    if reference.seed is not None:
        record = _repeat(results, record, reference.seed)
    if record.state != "done":
        reused = f"; it repeats trial {record.reuse_of}: name that one" if record.reuse_of is not None else ""
        raise PlastsearchError(f"{results.folder}: trial {record.number} has no model: it is {record.state}{reused}")
    return record


def _repeat(results: Results, record: TrialRecord, seed: int) -> TrialRecord:
    again = [row.record for row in results.every if row.record.of == record.number and row.record.seed is not None]
    found = next((one for one in again if one.seed == seed), None)
    if found is None:
        seeds = ", ".join(str(one.seed) for one in again) or "none"
        raise PlastsearchError(
            f"{results.folder}: trial {record.number} was not run again with seed {seed}; its further seeds: {seeds}"
        )
    return found


def config_of(record: TrialRecord, folder: Path) -> TrialConfig:
    try:
        return record.trial_config
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PlastsearchError(
            f"{folder}: trial {record.number} was configured by another version of plastsearch "
            f"({where}: {first['msg']})"
        ) from None


def last_stage(folder: Path, record: TrialRecord) -> tuple[StageStore, StageRecord]:
    """The store that holds the trial's last stage: beside the sweep, or where the trial said it was."""
    key = str(record.details.get("model_key", ""))
    kept = record.details.get("scores", {}).get("search_dev")
    places = [folder.parent / STORE, *([Path(kept).parent.parent] if kept else [])]
    for place in dict.fromkeys(places):
        store = StageStore(place)
        found = store.find(key) if key else None
        if found is not None:
            return store, found
    looked = " nor in ".join(str(place) for place in dict.fromkeys(places))
    raise PlastsearchError(
        f"{folder}: the weights of trial {record.number} (stage {key or 'unknown'}) are neither in {looked}; were they "
        "dropped or left on another machine? "
        "`plastsearch store pull` fetches them from a bucket, `plastsearch trial` computes them again"
    )


def chain_of(store: StageStore, last: StageRecord) -> list[StageRecord]:
    """The records from the first stage to the last; what the store has dropped of them is not there."""
    chain = [last]
    while chain[0].parent is not None:
        before = store.find(chain[0].parent)
        if before is None:
            break
        chain.insert(0, before)
    return chain


def _network(config: TrialConfig, chain: Sequence[StageRecord]) -> TrialNetwork:
    """The network in the shapes of its last stage; from what the stages wrote down of it, or from its source anew."""
    plain = next((one.details["network"] for one in chain if "network" in one.details), None)
    start = None if plain is None else from_config(plain)
    placed = chain[-1].details.get("placed", [])
    return blank(config, stages_of(config, MANY_CLIPS), torch.device("cpu"), placed, start)


def fold_where_possible_(detector: Detector) -> None:
    """Folded where it can be: a stacked layer and a parallel recurrent branch have no ordinary module."""
    with contextlib.suppress(GrowthError):  # it stays as it is then, and whoever needs plain weights asks again
        fold_(detector, verify=False)


def _threshold(store: StageStore, key: str) -> float | None:
    """Where the two errors on search-dev are equal; None where the scores are gone."""
    path = store.root / "scores" / f"{key}.search_dev.tsv"
    if not path.is_file():
        return None
    kept = read_clip_scores(path)
    return float(eer(kept.scores[kept.is_bona], kept.scores[~kept.is_bona])[1])


def _found(results: Results, record: TrialRecord, key: str) -> dict[str, JsonValue]:
    """Where it comes from, as plain data."""
    details = record.details
    baseline = results.control("baseline")
    plain: dict[str, object] = {
        "sweep": results.name,
        "question": results.question,
        "spec_hash": results.spec_hash,
        "trial": record.number,
        "trial_id": record.id,
        "role": record.role,
        "of": record.of,
        "seed": record.seed,
        "model_key": key,
        "config": record.config,
        "metrics": record.metrics,
        "per_attack": details.get("per_attack", {}),
        "eval_per_attack": details.get("eval_per_attack", {}),
        "stages": details.get("stages", []),
        "baseline": None if baseline is None else baseline.metrics,
        # The only ones that the evaluation split has judged: the trial, and the baseline, run again with fresh seeds.
        "finalists": _again(results, record.number if record.of is None else record.of),
        "baseline_finalists": [] if baseline is None else _again(results, baseline.number),
        "trials": len(results.rows),
        SAMPLED: sample_of(opened_names(results)),
    }
    return cast("dict[str, JsonValue]", as_json(plain))  # null for what is no number


def _again(results: Results, number: int) -> list[dict[str, float]]:
    """What finalists of a trial reached on the evaluation split, one for each seed."""
    rows = [row for one in results.finalists if one.of == number for row in one.rows if "eval_eer" in row.metrics]
    return [{"seed": row.config.seed, "eval_eer": row.metrics["eval_eer"]} for row in rows]
