"""A pretrained start without downloads: a short run without or with labels, saved as a folder for `model.from`."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from plastsearch.data.clips import ClipSet
from plastsearch.data.dataset import batches
from plastsearch.errors import PlastsearchError, TrialError
from plastsearch.files import new_folder, whole_folder
from plastsearch.models.build import build, save_pretrained
from plastsearch.models.detector import Detector
from plastsearch.models.masked import MaskedPretraining
from plastsearch.models.seeding import seeded
from plastsearch.models.wav2vec2 import SpeechEncoder
from plastsearch.spec.model import ModelConfig
from plastsearch.training.losses import build_loss
from plastsearch.trial.front_ends import measure_
from plastsearch.trial.networks import learn_all_

Objective = Literal["contrastive", "supervised"]
RECORD_FILE = "pretraining.json"
REPORT_EVERY = 50


@dataclass(frozen=True)
class Pretraining:
    """How long and on what; the defaults take the tiny preset a few minutes on one core."""

    objective: Objective = "contrastive"
    steps: int = 1500
    batch_size: int = 16
    length_samples: int = 16_000
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of the steps
    rate_hz: int = 16_000
    seed: int = 0
    train_stem: bool = True  # supervised: whether what lies below the first block learns


@dataclass
class Learner:
    """What is trained, its loss on a batch, and the detector that is saved in the end."""

    module: nn.Module
    loss: Callable[[Tensor, Tensor, int], tuple[Tensor, dict[str, float]]]
    detector: Callable[[], Detector]
    last: dict[str, float] = field(default_factory=dict)


def pretrain(
    model: ModelConfig, clips: ClipSet, settings: Pretraining, folder: Path, device: torch.device
) -> Iterator[dict[str, float]]:
    """Trains, yielding means of the last steps, and writes `folder` at the end; an existing folder is refused."""
    new_folder(folder)
    learner = LEARNERS[known_objective(settings.objective)](model, clips, settings, device)
    history: list[dict[str, float]] = []
    for report in _fit(learner, clips, settings, device):
        history.append(report)
        yield report
    _save(
        learner.detector(),
        folder,
        {"model": model.model_dump(mode="json", by_alias=True), **asdict(settings)},
        clips,
        history,
    )


def known_objective(name: str) -> Objective:
    """The name, if there is such an objective."""
    for objective in get_args(Objective):
        if name == objective:
            return name  # type: ignore[return-value]
    raise PlastsearchError(f"unknown objective {name!r}; known: {', '.join(get_args(Objective))}")


def _fit(learner: Learner, clips: ClipSet, settings: Pretraining, device: torch.device) -> Iterator[dict[str, float]]:
    torch.manual_seed(settings.seed)  # dropout draws from the global generators
    learning = [parameter for parameter in learner.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    learner.module.train()
    seen: list[dict[str, float]] = []
    for step, (wave_BT, label_B) in enumerate(_endless(clips, settings), start=1):
        loss, figures = learner.loss(wave_BT.to(device), label_B.to(device), step)
        if not loss.isfinite():
            raise TrialError(f"pretraining: the loss is {loss.item()} at step {step}; a smaller --lr may help")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        seen.append({"loss": loss.item(), **figures})
        if step % REPORT_EVERY == 0 or step == settings.steps:
            yield {"step": float(step), **{key: float(np.mean([s[key] for s in seen])) for key in seen[0]}}
            seen = []
        if step == settings.steps:
            return


def _endless(clips: ClipSet, settings: Pretraining) -> Iterator[tuple[Tensor, Tensor]]:
    size = min(settings.batch_size, len(clips))
    for epoch in range(settings.steps):
        for batch in batches(
            clips, size, settings.seed, epoch, length_samples=settings.length_samples, crops=None, drop_last=True
        ):
            yield batch.wave, batch.label


def _rate(step: int, settings: Pretraining) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm = max(1, round(settings.steps * settings.warmup))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, settings.steps - warm)))


def _contrastive(model: ModelConfig, _: ClipSet, settings: Pretraining, device: torch.device) -> Learner:
    if model.name != "wav2vec2":
        raise PlastsearchError(f"contrastive pretraining is for wav2vec2; {model.name} can be pretrained 'supervised'")
    start = _network(model, settings)
    if not isinstance(start, SpeechEncoder) or start.backbone.config.model_type != "wav2vec2":
        raise PlastsearchError(f"contrastive pretraining is for wav2vec2 encoders; {model.from_} is another kind")
    with seeded(settings.seed):
        module = MaskedPretraining(start).to(device)
    generator = torch.Generator().manual_seed(settings.seed)

    def loss(wave_BT: Tensor, _: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        value, hits = module(wave_BT, generator, temperature=max(0.5, 0.9995**step))
        return value, {"accuracy": hits}

    return Learner(module, loss, module.detector)


def _supervised(model: ModelConfig, clips: ClipSet, settings: Pretraining, device: torch.device) -> Learner:
    detector = _network(model, settings).to(device)
    if model.from_ is None:
        measure_(detector, clips, settings.length_samples, device)
    learn_all_(detector, settings.train_stem)
    counts = np.bincount(clips.labels, minlength=2)
    if counts.min() == 0:
        raise PlastsearchError("supervised pretraining needs clips of both classes")
    criterion = build_loss("cross_entropy", class_counts=(int(counts[0]), int(counts[1])), balance="weights")

    def loss(wave_BT: Tensor, label_B: Tensor, _: int) -> tuple[Tensor, dict[str, float]]:
        logits_BC = detector(wave_BT)
        hits = (logits_BC.argmax(1) == label_B).float().mean().item()
        return criterion(logits_BC, label_B), {"accuracy": hits}

    return Learner(detector, loss, lambda: detector)


def _network(model: ModelConfig, settings: Pretraining) -> Detector:
    plain = model.model_dump(exclude={"from_"})
    return build(source=model.from_, rate_hz=settings.rate_hz, seed=settings.seed, **plain)


def _save(
    detector: Detector, folder: Path, settings: Mapping[str, object], clips: ClipSet, history: list[dict[str, float]]
) -> None:
    """Written beside its place and renamed, so that a folder of this name is always whole."""
    record = {"plan": settings, "clips": len(clips), "clips_fingerprint": clips.fingerprint, "history": history}
    with whole_folder(folder) as draft:
        save_pretrained(detector.cpu(), draft)
        (draft / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n")


LEARNERS: dict[str, Callable[[ModelConfig, ClipSet, Pretraining, torch.device], Learner]] = {
    "contrastive": _contrastive,
    "supervised": _supervised,
}
