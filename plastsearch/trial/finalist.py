"""run_finalist: a trial whose final network is scored once on the evaluation split; the only opener of that split."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_evaluation
from plastsearch.data.evaluation import EvaluationKey
from plastsearch.data.progress import progress_lines
from plastsearch.data.verifier import verifier_scores
from plastsearch.models.detector import Detector
from plastsearch.spec.config import RunSettings, TrialConfig
from plastsearch.spec.report import Report
from plastsearch.trial import scoring
from plastsearch.trial.bench import Bench
from plastsearch.trial.checkpoint import stop_on_sigterm
from plastsearch.trial.clip_scores import keep_scores
from plastsearch.trial.cost import costs
from plastsearch.trial.networks import blank
from plastsearch.trial.openings import note_opening
from plastsearch.trial.result import result, split_metrics
from plastsearch.trial.run import Journey, load_weights, start, travel
from plastsearch.trial.seeds import derive_seed
from plastsearch.trial.tandem import tandem_cost


def run_finalist(config: TrialConfig, settings: RunSettings, baseline: bool = False) -> Iterator[Report]:
    """As run_trial; the final report has `eval_*` metrics too, and `details["score_file"]` names every clip's score.

    With `baseline` the network as `train` left it is scored on the same clips: `eval_eer_baseline`, and the intervals
    of its two EERs.
    """
    with stop_on_sigterm() as stop:
        journey = start(config, settings.model_copy(update={"check_evaluation": True}), stop)
        with journey.resting():
            yield from travel(journey)
            yield evaluated(journey, result(journey, costs(journey)), baseline)


def evaluated(journey: Journey, report: Report, baseline: bool = False) -> Report:
    """Open the evaluation split, note that in the ledger, score its clips once, and add what comes out."""
    bench = journey.bench
    key = EvaluationKey(f"finalist {bench.config.trial_id()}")
    said = progress_lines() if bench.settings.data_progress else None
    clips = open_evaluation(
        bench.config.data, bench.settings.cache, key, progress=said, on_wait=said.say if said else None,
        while_waiting=bench.end_if_asked,
    )  # fmt: skip
    trial = bench.config.trial_id()
    openings = note_opening(bench.settings.store, bench.config.data.corpus, clips.fingerprint, trial)
    scores = _scores(bench, journey.load().module, clips)
    summary = scoring.split_summary(scores, clips, derive_seed(bench.config.seed, "eval"))
    metrics = split_metrics("eval", summary) | {"eval_bad_clips": float(clips.bad_clips)}
    if baseline and journey.stages[0].name == "train":
        metrics |= _of_baseline(journey, clips)
    path = write_scores(bench.store.root / "scores" / f"{trial}.txt", clips, scores)
    kept = keep_scores(bench.store.root, journey.records[-1].key, "evaluation", clips, scores)
    details: dict[str, Any] = {"score_file": str(path), "eval_clips": len(clips)}
    details |= {"eval_openings": openings.count, "eval_openings_said": openings.text()}
    details["scores"] = report.details["scores"] | {"evaluation": str(kept)}
    details["eval_per_attack"] = summary.get("per_attack", {})
    found, warnings = tandem_cost(scores, clips, verifier_scores(bench.config.data, bench.settings.cache, key))
    metrics, details["warnings"] = metrics | found, [*report.details["warnings"], *warnings]
    return replace(report, metrics=report.metrics | metrics, details=report.details | details)


def _of_baseline(journey: Journey, clips: ClipSet) -> dict[str, float]:
    """What `train` alone reaches on both splits, with intervals drawn as those of the final network are."""
    bench = journey.bench
    trained = blank(bench.config, journey.stages[:1], bench.device)
    load_weights(trained, bench.store.load(journey.keys[0].key))
    found = {}
    for split, part in (("dev", bench.search_dev), ("eval", clips)):
        seed = derive_seed(bench.config.seed, split)
        summary = scoring.split_summary(_scores(bench, trained.module, part), part, seed)
        for end in ("", "_low", "_high"):
            found[f"{split}_eer_baseline{end}"] = float(summary[f"eer{end}"])
    return found


def _scores(bench: Bench, module: Detector, clips: ClipSet) -> scoring.Scores:
    return scoring.score(module, module, scoring.waves(clips, bench.length_samples, bench.device), bench.bf16)


def write_scores(path: Path, clips: ClipSet, scores: scoring.Scores) -> Path:
    """Lines `clip attack key score` as ASVspoof 2019 has them, replaced in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    keys = ("spoof", "bonafide")
    rows = zip(clips.ids, clips.attacks, clips.labels, scores, strict=True)
    draft.write_text(
        "".join(f"{name} {attack} {keys[label]} {float(score):.8g}\n" for name, attack, label, score in rows)
    )
    draft.replace(path)
    return path
