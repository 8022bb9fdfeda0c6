"""RunSettings: all that cannot change a result. Report: what a trial says while it runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from plastsearch.spec.closed import Closed
from plastsearch.spec.limits import MOST_AT_ONCE


class RunSettings(Closed):
    """Where and how a trial runs; nothing here may change its result (timings apart)."""

    device: str = "auto"  # auto | cpu | cuda | cuda:1
    threads: int = Field(1, ge=1, le=MOST_AT_ONCE)
    gpu_share: float = Field(1.0, gt=0)  # GPUs that the trial is charged with, if it runs on one
    loader_workers: int | None = Field(None, ge=0)  # threads that prepare batches; None: by device and `threads`
    deterministic: bool = False  # equal runs on one GPU agree to the last bit; slower
    store: Path  # finished stages by content, shared by all trials of a site
    cache: Path  # prefix activations, and decoded clips where `clips` names no other place
    clips: Path | None = None  # decoded clips, on a file system that nodes share
    share_stages: bool = True
    cache_prefix: bool = True
    cache_max_gb: float | None = Field(None, gt=0)  # of kept activations; None: half of the disk that is free for them
    cache_half: bool | None = None  # keep activations in float16; None: where they are computed in bf16
    store_max_gb: float | None = Field(None, gt=0)  # None: the store grows without end
    checkpoint_s: float = Field(60.0, ge=0)  # least time between checkpoints inside a stage; more where writing is slow
    defer_busy: bool = False  # raise StageBusyError instead of waiting for another trial's stage
    exclusive_timing: bool = True  # take turns on this node while timing
    data_progress: bool = False
    waits: Path | None = None  # where the attempt writes how long it waited for others; its time limit leaves that out
    output: Path | None = None  # where a worker process of the attempt's own leaves what it prints, if that fails
    check_evaluation: bool = False  # before training: can the clips that finalists are scored on be decoded?

    @property
    def clips_folder(self) -> Path:
        """Where decoded clips are."""
        return self.clips or self.cache


@dataclass(frozen=True)
class Report:
    """One dev evaluation, stage boundary or result; `step` counts optimiser steps over all stages."""

    stage: str  # train | dropin | retrain | prune | consolidate | timing | result
    step: int
    steps_total: int
    metrics: dict[str, float] = field(default_factory=dict)
    final: bool = False  # the last report holds every metric of the trial
    details: dict[str, Any] = field(default_factory=dict)  # reused stages, warnings, per-attack EERs, device
