"""The last report of a trial: every metric it has, and where its stages came from."""

import time

from plastsearch.data.clips import ClipSet
from plastsearch.scores.clip_scores import keep_scores
from plastsearch.scores.summary import Summary
from plastsearch.spec.constraints import NEWBORNS, SPIKES
from plastsearch.spec.running import Report
from plastsearch.store.records import StageRecord
from plastsearch.trial.adaptive import growth_plan
from plastsearch.trial.context import TrialRun
from plastsearch.trial.cost import Costs
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.scoring import Scores, dev_scores, split_summary, unpacked

FACTS = (
    "best_step", "steps_taken", "incoming_won", "insertion_error", "removed", "removed_new", "widths", "sites",
    "kernels",
    "prefix", "blocks", "at_step", "gradients", "budget", "unspent", "matched_to", "residual", "ranks_left",
    "newborns", "newborn_seconds",
)  # fmt: skip
SPLIT_METRICS = ("eer", "eer_low", "eer_high", "eer_tie_safe", "min_dcf", "act_dcf", "cllr", "auc", "eer_smooth")


def result(trial: TrialRun, costs: Costs) -> Report:
    """Assemble the final report; what a trial does not have is absent, never 0."""
    context = trial.context
    key = trial.records[-1].key
    scores = _final_scores(trial)
    summary = split_summary(scores, context.search_dev, derive_seed(context.config.seed, "dev"))
    metrics = split_metrics("dev", summary) | _stage_metrics(trial.records) | costs.metrics
    metrics |= {"bad_clips": context.corpus.bad_clips, "waited_seconds": trial.waited_s + costs.waited_s}
    metrics |= _savings(trial)
    metrics |= {"steps_total": trial.steps_total, "seconds": time.monotonic() - trial.began}
    if context.device.type == "cuda":
        metrics["gpu_seconds"] = metrics["seconds"] * context.settings.gpu_share
    details = {
        "per_attack": dict(summary.per_attack or {}),
        "device": costs.device,
        "stages": [_provenance(trial, record) for record in trial.records],
        "warnings": trial.warnings + costs.warnings + _stage_warnings(trial.records),
        "model_key": key,
        "data": {"train": _data(context.corpus.train), "search_dev": _data(context.search_dev)},
        "scores": {"search_dev": str(keep_scores(context.store.root, key, "search_dev", context.search_dev, scores))},
    }
    plan = growth_plan(trial.records)
    if plan:
        details["growth_plan"] = plan
    if any(record.details.get("unequal_budget") for record in trial.records):
        details["unequal_budget"] = True
    plain = {name: float(value) for name, value in metrics.items()}
    return Report("result", trial.steps_total, trial.steps_total, plain, final=True, details=details)


def _data(clips: ClipSet) -> dict[str, object]:
    """Which clips, by a hash of their content, and how many: never those of the evaluation split."""
    return {"digest": clips.fingerprint, "clips": len(clips), "hours": round(clips.hours, 4)}


def _final_scores(trial: TrialRun) -> Scores:
    """Dev scores of the final network: its last stage kept those of its best state, which is the final one."""
    text = trial.records[-1].details.get("dev_scores")
    return unpacked(text) if text else dev_scores(trial.context, trial.load().module)


def split_metrics(split: str, summary: Summary) -> dict[str, float]:
    """The numbers of a summary under the names of a split."""
    found = {name: getattr(summary, name) for name in SPLIT_METRICS}
    return {f"{split}_{name}": float(value) for name, value in found.items() if value is not None}


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
    found |= {name: by_stage["retrain"][name] for name in NEWBORNS if name in by_stage.get("retrain", {})}
    return found | {name: records[-1].metrics[name] for name in SPIKES if name in records[-1].metrics}


def _savings(trial: TrialRun) -> dict[str, float]:
    """Seconds that other trials' work saved; a stage this very trial computed before it was killed saves nothing."""
    taken = [record for record in trial.records if _reused(trial, record)]
    found = {"reused_seconds": sum(record.seconds for record in taken)}
    if trial.context.device.type == "cuda":
        found["reused_gpu_seconds"] = sum(record.gpu_seconds for record in taken)
    return found


def _reused(trial: TrialRun, record: StageRecord) -> bool:
    return record.key not in trial.computed and record.details.get("trial") != trial.context.config.trial_id()


def _provenance(trial: TrialRun, record: StageRecord) -> dict[str, object]:
    if record.key in trial.computed:
        source = "computed"
    else:
        source = "reused" if _reused(trial, record) else "resumed"
    facts = {name: record.details[name] for name in FACTS if name in record.details}
    return {"stage": record.stage, "key": record.key, "from": source, "seconds": round(record.seconds, 3), **facts}


def _stage_warnings(records: list[StageRecord]) -> list[str]:
    short = [f"{r.stage}: out of memory, {r.details['out_of_memory']}" for r in records if "out_of_memory" in r.details]
    stopped = [f"{r.stage}: stopped early after {r.details['steps_taken']} of {r.reads['steps']} steps: unequal budget"
               for r in records if r.details.get("unequal_budget")]  # fmt: skip
    return short + stopped
