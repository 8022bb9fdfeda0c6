"""The last report of a trial: every metric it has, and where its stages came from."""

import time
from typing import TYPE_CHECKING, Any

from plastsearch.spec.report import Report
from plastsearch.trial.clip_scores import keep_scores
from plastsearch.trial.scoring import Scores, split_summary, unpacked
from plastsearch.trial.seeds import derive_seed
from plastsearch.trial.stages import dev_scores
from plastsearch.trial.store import StageRecord

if TYPE_CHECKING:
    from plastsearch.trial.cost import Costs
    from plastsearch.trial.run import Journey

SPLIT_METRICS = ("eer", "eer_low", "eer_high", "eer_tie_safe", "min_dcf", "act_dcf", "cllr")


def result(journey: "Journey", costs: "Costs") -> Report:
    """Assemble the final report; what a trial does not have is absent, never 0."""
    bench, key = journey.bench, journey.records[-1].key
    scores = _final_scores(journey)
    summary = split_summary(scores, bench.search_dev, derive_seed(bench.config.seed, "dev"))
    metrics = split_metrics("dev", summary) | _stage_metrics(journey.records) | costs.metrics
    metrics |= {"bad_clips": bench.corpus.bad_clips, "waited_seconds": journey.waited_s + costs.waited_s}
    metrics |= _savings(journey)
    metrics |= {"steps_total": journey.steps_total, "seconds": time.monotonic() - journey.began}
    if bench.device.type == "cuda":
        metrics["gpu_seconds"] = metrics["seconds"]
    details = {
        "per_attack": summary.get("per_attack", {}),
        "device": costs.device,
        "stages": [_provenance(journey, record) for record in journey.records],
        "warnings": journey.warnings + costs.warnings + _stage_warnings(journey.records),
        "model_key": key,
        "scores": {"search_dev": str(keep_scores(bench.store.root, key, "search_dev", bench.search_dev, scores))},
    }
    if any(record.details.get("unequal_budget") for record in journey.records):
        details["unequal_budget"] = True
    plain = {name: float(value) for name, value in metrics.items()}
    return Report("result", journey.steps_total, journey.steps_total, plain, final=True, details=details)


def _final_scores(journey: "Journey") -> Scores:
    """Dev scores of the final network: its last stage kept those of its best state, which is the final one."""
    text = journey.records[-1].details.get("dev_scores")
    return unpacked(text) if text else dev_scores(journey.bench, journey.load().module)


def split_metrics(split: str, summary: dict[str, Any]) -> dict[str, float]:
    """The numbers of a summary under the names of a split."""
    return {f"{split}_{name}": float(summary[name]) for name in SPLIT_METRICS if name in summary}


def _stage_metrics(records: list[StageRecord]) -> dict[str, float]:
    """The error rates on the way: baseline, grown, right after removal."""
    by_stage = {record.stage: record.metrics for record in records}
    found: dict[str, float] = {}
    if "train" in by_stage:
        found["dev_eer_baseline"] = by_stage["train"]["dev_eer"]
    if "dropin" in by_stage:
        found["dev_eer_grown"] = by_stage["retrain"]["dev_eer"]
    if "prune" in by_stage:
        found |= {"dev_eer_pruned": by_stage["prune"]["dev_eer"], "turnover": by_stage["prune"]["turnover"]}
    trained = [record for record in records if "train_loss" in record.metrics]
    found["train_loss"] = trained[-1].metrics["train_loss"]
    return found


def _savings(journey: "Journey") -> dict[str, float]:
    """Seconds that other trials' work saved; a stage this very trial computed before it was killed saves nothing."""
    taken = [record for record in journey.records if _reused(journey, record)]
    found = {"reused_seconds": sum(record.seconds for record in taken)}
    if journey.bench.device.type == "cuda":
        found["reused_gpu_seconds"] = sum(record.gpu_seconds for record in taken)
    return found


def _reused(journey: "Journey", record: StageRecord) -> bool:
    return record.key not in journey.computed and record.details.get("trial") != journey.bench.config.trial_id()


def _provenance(journey: "Journey", record: StageRecord) -> dict[str, Any]:
    where = "computed" if record.key in journey.computed else "reused" if _reused(journey, record) else "resumed"
    kept = (
        "best_step",
        "steps_taken",
        "incoming_won",
        "insertion_error",
        "removed",
        "removed_new",
        "widths",
        "sites",
        "prefix",
        "blocks",
    )
    facts = {name: record.details[name] for name in kept if name in record.details}
    return {"stage": record.stage, "key": record.key, "from": where, "seconds": round(record.seconds, 3), **facts}


def _stage_warnings(records: list[StageRecord]) -> list[str]:
    short = [f"{r.stage}: out of memory, {r.details['out_of_memory']}" for r in records if "out_of_memory" in r.details]
    stopped = [f"{r.stage}: stopped early after {r.details['steps_taken']} of {r.reads['steps']} steps: unequal budget"
               for r in records if r.details.get("unequal_budget")]  # fmt: skip
    return short + stopped
