"""What the stages of one trial work with (clips, device, loss, store, caches), and how far the trial has come."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plastsearch.augment.changes import build_augment
from plastsearch.augment.names import recordings_of
from plastsearch.data.cache import Decoder
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import OpenCorpus, open_corpus
from plastsearch.data.dataset import Augment
from plastsearch.data.preparing import check_evaluation, progress_lines
from plastsearch.files import typed_path
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.store.prefix import PrefixCache
from plastsearch.store.records import StageRecord
from plastsearch.store.stages import StageStore
from plastsearch.training.checkpoint import Stopped
from plastsearch.training.feeds import Reading
from plastsearch.training.losses import Reduction, build_loss
from plastsearch.trial.device import computes_bf16, pick_device, repeatable
from plastsearch.trial.front_ends import measure_
from plastsearch.trial.keys import Environment, StageKey, base_key, derive_seed, start_key, weights_id
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork, blank, load_weights
from plastsearch.trial.waits import Waits

Loss = Callable[[Tensor, Tensor], Tensor]
MOST_LOADERS = 8  # threads of one process; the interpreter lock leaves little for more


@dataclass(frozen=True)
class TrialContext:
    """Opened once per trial; nothing in it changes while the trial runs."""

    config: TrialConfig
    settings: RunSettings
    device: torch.device
    corpus: OpenCorpus
    store: StageStore
    prefixes: PrefixCache
    stop: Callable[[], bool]
    waits: Waits

    def end_if_asked(self) -> None:
        """Leave a wait when the process was asked to end; there is nothing to checkpoint then."""
        waiting(self.waits, self.stop)

    @property
    def train(self) -> ClipSet:
        return self.corpus.train

    @property
    def search_dev(self) -> ClipSet:
        return self.corpus.search_dev

    @property
    def length_samples(self) -> int:
        return self.config.data.length_samples

    @cached_property
    def bf16(self) -> bool:
        """Whether the network computes in bf16; scores and losses are float32 anyway."""
        wanted = self.config.train.precision
        if wanted == "auto":  # recurrent layers compute in float32 anyhow
            return self.config.model.name != "grnn" and computes_bf16(self.device)
        return wanted == "bf16"

    @property
    def half_prefix(self) -> bool:
        """Whether activations are kept in float16: as asked; else where they come in bf16, which is coarser."""
        asked = self.settings.cache_half
        if asked is not None:
            return asked
        # Recurrent layers compute in float32 whatever is asked, so there a half would lose what is exact.
        return self.bf16 and self.config.model.name != "grnn"

    @cached_property
    def environment(self) -> Environment:
        """What changes results beside the configuration."""
        half = "+half-prefix" if self.half_prefix and self.settings.cache_prefix else ""
        fixed = "+deterministic" if self.settings.deterministic and self.device.type == "cuda" else ""
        return Environment(
            data=self.corpus.fingerprint,
            weights=weights_id(self.config.model.from_),
            device=self.device.type,
            precision=("bf16" if self.bf16 else "float32") + half + fixed,
            torch=torch.__version__.split("+")[0],
            recordings=recordings_of(self.config.data.augment, self.corpus_root),
            owner="" if self.settings.share_stages else self.config.trial_id(),
        )

    @property
    def loader_workers(self) -> int:
        """Threads that prepare batches: beside a GPU the cores that wait for it, else a quarter of all."""
        asked = self.settings.loader_workers
        cores = self.settings.threads
        if asked is not None:
            return asked
        return min(MOST_LOADERS, max(1, cores - 1) if self.device.type == "cuda" else cores // 4)

    def reading(self, first: int) -> Reading:
        """How a stage reads the training clips that begins after `first` optimiser steps of its trial.

        Nothing here depends on method, regime or stage: the same step of any arm sees the same parts of the same clips.
        """
        data = self.config.data
        return Reading(
            clips=self.train, batch_size=self.config.train.batch_size, seed=derive_seed(self.config.seed, "order"),
            first=first, length_samples=data.length_samples, crops=None if data.crops == "fresh" else data.crops,
            sampling="balanced" if data.balance == "sampler" else "shuffle",
            augment=self.augment, workers=self.loader_workers,
        )  # fmt: skip

    @property
    def corpus_root(self) -> Path | None:
        """The folder that paths of recordings are relative to."""
        root = self.config.data.root
        return typed_path(root) if root else None

    @cached_property
    def augment(self) -> Augment | None:
        data = self.config.data
        return build_augment(data.augment, data.rate_hz, self.corpus_root) if data.augment else None

    @cached_property
    def loss(self) -> Loss:
        """The loss of training: the mean over a micro-batch."""
        return self._loss("mean")

    @cached_property
    def loss_each(self) -> Loss:
        """The same loss with one value per clip, for criteria."""
        return self._loss("none")

    def _loss(self, reduction: Reduction) -> Loss:
        counts = np.bincount(self.train.labels, minlength=2)
        made = build_loss(self.config.train.loss, counts.tolist(), self.config.data.balance, reduction=reduction)
        return made.to(self.device)  # weights fetched at every step would make the host wait for the GPU


def waiting(waits: Waits, stop: Callable[[], bool]) -> None:
    """Asked by whatever waits: note the time, and leave when the process was asked to end."""
    waits()
    if stop():
        raise Stopped


def open_context(config: TrialConfig, settings: RunSettings, stop: Callable[[], bool]) -> TrialContext:
    """Open the clips a trial may see: train and search-dev, never more."""
    repeatable(settings.deterministic)
    device = pick_device(settings.device)
    torch.set_num_threads(settings.threads)
    # all cores: only the first of many trials decodes, and the others wait for it
    said = progress_lines() if settings.data_progress else None
    waits = Waits(settings.waits)
    still = partial(waiting, waits, stop)
    corpus = open_corpus(
        config.data, settings.clips_folder, progress=said, on_wait=said.say if said else None,
        while_waiting=still,
    )  # fmt: skip
    if settings.check_evaluation:
        ahead = Decoder(settings.clips_folder, None, said, said.say if said else None, still)
        check_evaluation(config.data, ahead)
    prefixes = PrefixCache(
        settings.cache / "prefix", None if settings.cache_max_gb is None else settings.cache_max_gb * 1e9
    )
    most = None if settings.store_max_gb is None else settings.store_max_gb * 1e9
    return TrialContext(
        config, settings, device, corpus, StageStore(settings.store, max_bytes=most), prefixes, stop, waits
    )


@dataclass
class TrialRun:
    """Filled in as the trial goes: a finished stage adds its record, a wait or a computation its seconds."""

    context: TrialContext
    stages: tuple[Stage, ...]
    keys: list[StageKey]
    began: float
    records: list[StageRecord] = field(default_factory=list)
    network: TrialNetwork | None = None  # as after the last of `records`; None: not loaded yet
    waited_s: float = 0.0
    own_s: float = 0.0
    computed: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def steps_total(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def steps_done(self) -> int:
        return sum(stage.steps for stage in self.stages[: len(self.records)])

    @property
    def base(self) -> str:
        return base_key(self.context.config, self.stages, self.keys, self.context.environment)

    def unmoved(self, stage: Stage) -> str:
        """The name of the weights below the lowest place that moves in a stage."""
        if stage.learns == "all":  # nothing, or a stem that never learns
            return start_key(self.context.config, self.context.environment)
        return self.base

    @property
    def placed(self) -> list[dict[str, int]]:
        """What insertions have chosen, as the last record has it: of all records, that one goes with the weights."""
        return self.records[-1].details.get("placed", []) if self.records else []

    def load(self) -> TrialNetwork:
        """The network as the finished stages left it."""
        if self.network is None:
            done = len(self.records)
            network = blank(self.context.config, self.stages[:done], self.context.device, self.placed)
            if done:
                load_weights(network, self.context.store.load(self.records[-1].key))
            elif self.context.config.model.from_ is None:  # a folder's weights bring their own
                measure_(network.module, self.context.train, self.context.length_samples, self.context.device)
            self.network = network
        return self.network

    def resting(self) -> AbstractContextManager[None]:
        """While it lasts, nobody drops a stage this trial is made of."""
        return self.context.store.rest_on([key.key for key in self.keys], self.context.end_if_asked)

    def report(self, stage: str, step: int, metrics: dict[str, float], *, boundary: bool = False) -> Report:
        """`boundary`: the stage is finished, rather than evaluated on its way."""
        return Report(stage, step, self.steps_total, metrics, details={"boundary": True} if boundary else {})
