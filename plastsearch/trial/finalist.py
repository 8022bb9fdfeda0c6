"""run_finalist: a trial whose final network is scored once on the evaluation split; the only opener of that split."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import open_evaluation, verifier_scores
from plastsearch.data.evaluation_key import issue
from plastsearch.data.preparing import progress_lines
from plastsearch.errors import DataError
from plastsearch.files import whole_file
from plastsearch.models.detector import Detector
from plastsearch.scores.clip_scores import keep_scores
from plastsearch.scores.keys import read_verifier
from plastsearch.scores.tdcf import min_tdcf_2019
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.store.openings import note_opening
from plastsearch.training.checkpoint import stop_on_sigterm
from plastsearch.trial import scoring
from plastsearch.trial.context import TrialContext, TrialRun
from plastsearch.trial.cost import costs
from plastsearch.trial.keys import derive_seed
from plastsearch.trial.networks import blank, load_weights
from plastsearch.trial.result import result, split_metrics
from plastsearch.trial.run import run_stages, start
from plastsearch.trial.scoring import Scores


def run_finalist(config: TrialConfig, settings: RunSettings, baseline: bool = False) -> Iterator[Report]:
    """As run_trial; the final report has `eval_*` metrics too, and `details["score_file"]` names every clip's score.

    With `baseline` the network as `train` left it is scored on the same clips: `eval_eer_baseline`, and the intervals
    of its two EERs.
    """
    with stop_on_sigterm() as stop:
        trial = start(config, settings.model_copy(update={"check_evaluation": True}), stop)
        with trial.resting():
            yield from run_stages(trial)
            yield evaluated(trial, result(trial, costs(trial)), baseline)


def evaluated(trial: TrialRun, report: Report, baseline: bool = False) -> Report:
    """Open the evaluation split, note that in the ledger, score its clips once, and add what comes out."""
    context = trial.context
    key = issue(f"finalist {context.config.trial_id()}")
    said = progress_lines() if context.settings.data_progress else None
    clips = open_evaluation(
        context.config.data, context.settings.clips_folder, key, progress=said, on_wait=said.say if said else None,
        while_waiting=context.end_if_asked,
    )  # fmt: skip
    own_id = context.config.trial_id()
    openings = note_opening(context.settings.store, context.config.data.corpus, clips.fingerprint, own_id)
    scores = _scores(context, trial.load().module, clips)
    summary = scoring.split_summary(scores, clips, derive_seed(context.config.seed, "eval"))
    metrics = split_metrics("eval", summary) | {"eval_bad_clips": float(clips.bad_clips)}
    if baseline and trial.stages[0].name == "train":
        metrics |= _of_baseline(trial, clips)
    path = write_scores(context.store.root / "scores" / f"{own_id}.txt", clips, scores)
    kept = keep_scores(context.store.root, trial.records[-1].key, "evaluation", clips, scores)
    tandem, warnings = tandem_cost(
        scores, clips, verifier_scores(context.config.data, context.settings.clips_folder, key)
    )
    details = {
        "score_file": str(path),
        "eval_clips": len(clips),
        "eval_openings": openings.count,
        "eval_openings_said": openings.text(),
        "scores": report.details["scores"] | {"evaluation": str(kept)},
        "eval_per_attack": dict(summary.per_attack or {}),
        "warnings": [*report.details["warnings"], *warnings],
    }
    return replace(report, metrics=report.metrics | metrics | tandem, details=report.details | details)


def _of_baseline(trial: TrialRun, clips: ClipSet) -> dict[str, float]:
    """What `train` alone reaches on both splits, with intervals drawn as those of the final network are."""
    context = trial.context
    trained = blank(context.config, trial.stages[:1], context.device)
    load_weights(trained, context.store.load(trial.keys[0].key))
    found = {}
    for split, part in (("dev", context.search_dev), ("eval", clips)):
        seed = derive_seed(context.config.seed, split)
        summary = scoring.split_summary(_scores(context, trained.module, part), part, seed)
        metrics = split_metrics(split, summary)
        for end in ("", "_low", "_high"):
            found[f"{split}_eer_baseline{end}"] = metrics[f"{split}_eer{end}"]
    return found


def _scores(context: TrialContext, module: Detector, clips: ClipSet) -> scoring.Scores:
    return scoring.clip_scores(context, module, clips)


def write_scores(path: Path, clips: ClipSet, scores: scoring.Scores) -> Path:
    """Lines `clip attack key score` as ASVspoof 2019 has them, replaced in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ("spoof", "bonafide")
    rows = zip(clips.ids, clips.attacks, clips.labels, scores, strict=True)
    with whole_file(path) as draft:
        draft.write_text(
            "".join(f"{name} {attack} {keys[label]} {float(score):.8g}\n" for name, attack, label, score in rows)
        )
    return path


def tandem_cost(scores: Scores, clips: ClipSet, verifier: Path | None) -> tuple[dict[str, float], list[str]]:
    """`eval_min_tdcf` (2019's), or nothing and why: a file that cannot be used must not cost a finalist its result."""
    if verifier is None:
        return {}, []
    try:
        bona, spoof = scores[clips.labels == 1], scores[clips.labels == 0]
        return {"eval_min_tdcf": min_tdcf_2019(bona, spoof, read_verifier(verifier))}, []
    except DataError as error:
        return {}, [f"eval_min_tdcf is left out: {error}"]
