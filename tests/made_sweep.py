"""A sweep folder as the driver leaves it, made up in milliseconds: every kind of trial and ending."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from plastsearch.scores.clip_scores import Split, keep_scores
from plastsearch.scores.metrics import eer
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec

START = 1_767_225_600.0  # a fixed second, so that records of two calls agree
SITES = [f"encoder.{i}.ffn" for i in range(6)]
BASE = {"model": {"name": "wav2vec2", "preset": "tiny"}, "data": {"corpus": "synthetic"}, "method": "plasticity"}
WRITTEN: dict[str, Any] = {
    "name": "w2v_layers",
    "question": "Which encoder layers should receive dropin, how many neurons, and which criterion prunes them?",
    "base": BASE,
    "space": {
        "layers": {"kind": "subset", "of": SITES, "min": 1, "max": 3},
        "neurons": {"kind": "int", "low": 16, "high": 128, "step": 16},
        "criterion": {"kind": "choice", "of": ["taylor", "entropy", "magnitude", "random"]},
        "regime": {"kind": "choice", "of": ["frozen", "unfrozen"]},
    },
    "objectives": [
        {"metric": "dev_eer", "goal": "min"},
        {"metric": "backward_ratio", "goal": "min"},
        {"metric": "params_total", "goal": "min"},
    ],
    "controls": ["baseline", "lora", "random"],
    "search": {"sampler": "auto", "trials": 24, "seed": 0},
    "finalists": {"top": 2, "seeds": 2},
}
SPEC = SweepSpec.model_validate(WRITTEN).plain()
BASELINE_PARAMS = 180_000
CONTROLS = ("baseline", "lora", "random")


class MadeClips:
    """Clips that were never spoken: speakers heard in both classes, and how hard each clip is for anybody."""

    def __init__(self, seed: int, speakers: int = 24, bona: int = 8, spoof: int = 16) -> None:
        rng = np.random.default_rng(seed)
        each = bona + spoof
        self.labels = np.tile(np.repeat([1, 0], [bona, spoof]), speakers)
        self.ids = [f"C_{seed}_{n:04d}" for n in range(speakers * each)]
        self.speakers = np.repeat([f"S{n:02d}" for n in range(speakers)], each)
        self.attacks = np.where(self.labels == 1, "-", "A01")
        self.hardness = 0.97 * rng.normal(size=speakers * each)

    def scores(self, eer_percent: float, rng: np.random.Generator, own: float = 0.25) -> np.ndarray:
        """What a network of about this EER says; `own` is what it hears unlike others."""
        apart = -2 * ndtri(min(max(eer_percent, 0.1), 49.9) / 100)
        return (apart * self.labels + self.hardness + own * rng.normal(size=self.labels.size)).astype(np.float32)

    def eer(self, scores: np.ndarray) -> float:
        return eer(scores[self.labels == 1], scores[self.labels == 0])[0]


CLIPS: dict[Split, MadeClips] = {"search_dev": MadeClips(1), "evaluation": MadeClips(2)}


class Maker:
    """Writes events one after the other on a clock of its own."""

    def __init__(self, folder: Path, seed: int, baseline_eer: float, luck: float = 0.5) -> None:
        self.folder, self.baseline_eer, self.luck = folder, baseline_eer, luck
        self.file = (folder / "trials.jsonl").open("w")
        self.rng = np.random.default_rng(seed)
        self.heard = np.random.default_rng([seed, 1])  # what networks hear unlike others
        self.now = START
        self.dev_eers: dict[int, float] = {}
        self.configs: list[dict[str, Any]] = []  # by number: reading the file back would be quadratic
        self.number = 0

    def write(self, event: str, **content: Any) -> None:
        self.now += 0.25
        self.file.write(json.dumps({"event": event, "at": self.now, **content}) + "\n")

    def propose(self, role: str = "search", control: str | None = None, of: int | None = None, **changes: Any) -> int:
        number, self.number = self.number, self.number + 1
        layers = sorted(self.rng.choice(SITES, size=self.rng.integers(1, 4), replace=False).tolist())
        params = {
            "layers": layers,
            "neurons": int(self.rng.integers(1, 9) * 16),
            "criterion": str(self.rng.choice(WRITTEN["space"]["criterion"]["of"])),
            "regime": str(self.rng.choice(["frozen", "frozen", "unfrozen"])),
        } | changes
        method = {"baseline": "baseline", "lora": "lora"}.get(control or "", "plasticity")
        config = TrialConfig.model_validate(BASE | params | {"method": method})
        if control == "baseline":
            config = TrialConfig.model_validate(BASE | {"method": "baseline", "seed": params.get("seed", 0)})
        extra = {} if of is None else {"of": of}
        extra |= {"seed": params["seed"]} if role == "replicate" else {}
        plain = config.model_dump(mode="json", by_alias=True)
        self.configs.append(plain)
        self.write(
            "propose", trial=number, id=config.trial_id(), role=role, control=control, params=params,
            config=plain, origin="control" if control else "sampler",
            reuse_of=None, **extra,
        )  # fmt: skip
        return number

    def metrics(self, layers: list[str], neurons: int, criterion: str, regime: str, method: str) -> dict[str, float]:
        depth = min(int(name.split(".")[1]) for name in layers)
        added = 97 * neurons * len(layers) if method != "baseline" else 0
        bonus = {"taylor": 0.5, "entropy": 0.2, "magnitude": 0.1, "random": -0.4}[criterion]
        eer = 14 - 1.1 * np.log2(1 + added / 5000) - bonus + 0.25 * abs(depth - 3) + self.rng.normal(0, self.luck)
        eer = self.baseline_eer if method == "baseline" else max(float(eer), 0.4)
        ratio = 1.0 if method == "baseline" or regime == "unfrozen" else 0.03 + 0.045 * (6 - depth)
        ratio *= float(np.exp(self.rng.normal(0, 0.02)))
        return {
            "dev_eer": eer, "dev_eer_low": eer * 0.86, "dev_eer_high": eer * 1.16, "dev_min_dcf": eer / 40,
            "dev_act_dcf": eer / 20, "dev_cllr": eer / 30, "dev_eer_baseline": 12.9, "dev_eer_grown": eer * 0.97,
            "dev_eer_pruned": eer * 1.3, "turnover": 0.7, "forward_ms": 9.5, "backward_ms": 21 * ratio,
            "optimizer_ms": 0.8, "backward_ratio": ratio, "backward_cv": 0.04, "backward_gflop": 1.9 * ratio,
            "params_total": float(BASELINE_PARAMS + added), "params_final": float(BASELINE_PARAMS),
            "params_trainable": float(added + 4000), "params_added": float(added),
            "params_baseline": float(BASELINE_PARAMS), "peak_memory_mb": 410.0, "train_loss": 0.31,
            "steps_total": 120.0, "seconds": 8.0, "gpu_seconds": 0.0, "reused_seconds": 3.5, "waited_seconds": 0.5,
            "bad_clips": 2.0,
        }  # fmt: skip

    def run(self, number: int, metrics: dict[str, float], attempt: int = 1, reports: int = 3) -> None:
        self.write("start", trial=number, attempt=attempt, node="node-1")
        for step in range(1, reports + 1):
            seen = {"dev_eer": metrics["dev_eer"] + 3 * (reports - step) + 0.2, "train_loss": 0.7 - 0.1 * step}
            self.write("report", trial=number, attempt=attempt, stage=["train", "retrain", "consolidate"][step - 1],
                       step=40 * step, steps_total=120, metrics=seen)  # fmt: skip
            self.now += 2

    def end(self, number: int, state: str, metrics: dict[str, float], reason: str | None = None, attempt: int = 1,
            fidelity: float = 1.0, scores: dict[str, str] | None = None) -> None:  # fmt: skip
        details = {
            "stages": [{"stage": "train", "key": "5e1f", "from": "reused", "seconds": 3.5}],
            "per_attack": {"A01": metrics.get("dev_eer", 0) / 2},
            "device": {"name": "cpu"},
            "warnings": ["timings vary by 17 %"] if number == 4 else [],
            "scores": scores or {},
        }
        self.write("end", trial=number, attempt=attempt, state=state, metrics=metrics, details=details, reason=reason,
                   seconds=8.0, gpu_seconds=0.0, fidelity=fidelity)  # fmt: skip

    def finished(self, **propose: Any) -> int:
        number = self.propose(**propose)
        config = self.config_of(number)
        known = {"layers": config["layers"] or SITES[:1], "neurons": config["neurons"] or 16}
        metrics = self.metrics(**known, criterion=config["criterion"], regime=config["regime"], method=config["method"])
        wanted = {"search_dev": metrics["dev_eer"]}
        if propose.get("role") == "finalist":
            wanted["evaluation"] = metrics["dev_eer"] * 1.4
        reached, scores = self.scores(number, wanted)
        self.dev_eers[number] = reached["search_dev"]
        for split, name in (("search_dev", "dev_eer"), ("evaluation", "eval_eer")):
            if split in reached:
                found = reached[split]
                metrics |= {name: found, f"{name}_low": found * 0.86, f"{name}_high": found * 1.16}
        if "evaluation" in reached:
            metrics["eval_bad_clips"] = 3.0
        self.run(number, metrics)
        self.end(number, "done", metrics, scores=scores)
        return number

    def scores(self, number: int, wanted: dict[str, float]) -> tuple[dict[str, float], dict[str, str]]:
        """Keep scores of about these EERs; the EERs they really have, and where they lie."""
        reached, paths = {}, {}
        for split, target in wanted.items():
            clips = CLIPS[split]
            scores = clips.scores(target, self.heard)
            reached[split] = clips.eer(scores)
            paths[split] = str(keep_scores(self.folder / "kept", f"{number:024d}", split, clips, scores))
        return reached, paths

    def settings(self, number: int) -> dict[str, Any]:
        """What a trial chose, for a further run of it."""
        config = self.config_of(number)
        return {key: config[key] for key in ("layers", "neurons", "criterion", "regime")}

    def config_of(self, number: int) -> dict[str, Any]:
        return dict(self.configs[number])


def make_sweep(
    folder: Path,
    seed: int = 0,
    finish: bool = True,
    search: int = 20,
    baseline_eer: float = 12.5,
    seeds: tuple[int, ...] = (1, 2),
    repeats: int = 0,
    luck: float = 0.5,
    spec: dict[str, Any] = SPEC,
    controls: tuple[str, ...] = CONTROLS,
) -> Path:
    """Write `folder/trials.jsonl`: controls, `search` finished trials, then one of each other end, then finalists.

    With `repeats`, the baseline and the two best trials run with so many further seeds, the six next with one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    make = Maker(folder, seed, baseline_eer, luck)
    spec_hash = SweepSpec.model_validate(spec).spec_hash()
    make.write("sweep", version=1, name=folder.name, spec=spec, spec_hash=spec_hash, overrides=[])
    make.write("session", session=1, pid=4242, host="bench", resumed=False)
    baseline, *_ = [make.finished(role="control", control=one, regime="frozen") for one in controls] or [None]
    done = [make.finished() for _ in range(search)]
    best = sorted(done, key=lambda number: (make.dev_eers[number], number))
    for at, of in enumerate([baseline, *best[:8]] if repeats else []):
        for run_seed in range(1, 1 + (repeats if at < 3 else 1)):
            control = "baseline" if of == baseline else None
            make.finished(role="replicate", control=control, of=of, seed=run_seed, **make.settings(of))
    failed = make.propose()
    make.run(failed, {"dev_eer": 30.0}, reports=1)
    make.write("retry", trial=failed, attempt=1, reason="worker process died")
    make.run(failed, {"dev_eer": 30.0}, attempt=2, reports=1)
    make.end(failed, "failed", {}, reason="loss became NaN at step 41 of retrain", attempt=2, fidelity=0.34)
    halted = make.propose()
    make.run(halted, {"dev_eer": 0.1}, reports=2)
    make.end(halted, "halted", {"dev_eer": 0.1, "backward_ratio": 0.001, "params_total": 1.0}, fidelity=0.5)
    unmeasured = make.propose()  # done, but one objective is missing: no result
    make.run(unmeasured, {"dev_eer": 0.1}, reports=2)
    make.end(unmeasured, "done", {"dev_eer": 0.1, "params_total": 1.0})
    if finish:
        for of in (*sorted(done, key=lambda number: (make.dev_eers[number], number))[:2], baseline):
            for run_seed in seeds:
                control = "baseline" if of == baseline else None
                make.finished(role="finalist", control=control, of=of, seed=run_seed, **make.settings(of))
        make.write("finish", status="done", seconds=make.now - START, tally={
            "ended": search + 3, "failed": 1, "planned": spec["search"]["trials"],
            "best": min((make.dev_eers[number] for number in done), default=None),  # of single runs
        })  # fmt: skip
    else:
        running = make.propose()
        make.write("start", trial=running, attempt=1, node="node-1")
    make.file.close()
    return folder
