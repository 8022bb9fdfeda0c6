"""TrainConfig: how long and how every method trains."""

from typing import Literal, Self

from pydantic import Field, model_validator

from plastsearch.spec.closed import Closed
from plastsearch.spec.limits import MOST_AMOUNT, MOST_AT_ONCE, MOST_COUNT, MOST_REPEATS


class StageValues(Closed):
    """One number for each stage that trains."""

    train: float = Field(ge=0, le=MOST_AMOUNT)
    """Before growth."""
    retrain: float = Field(ge=0, le=MOST_AMOUNT)
    """After growth."""
    consolidate: float = Field(ge=0, le=MOST_AMOUNT)
    """After pruning."""


class TrainConfig(Closed):
    """How long and how every method trains; the total of optimiser steps is the same for all methods."""

    steps: int | None = Field(None, ge=3, le=MOST_COUNT)
    """Optimiser steps over all stages; or give `epochs`."""
    epochs: float | None = Field(None, gt=0, le=MOST_COUNT)
    """The same in passes over the training clips; or give `steps`."""
    shares: StageValues = StageValues(train=0.5, retrain=0.25, consolidate=0.25)
    """How the steps are shared out among the stages."""
    grow_at: float | None = Field(None, gt=0, lt=1)
    """Share of all steps before growth, in place of `shares.train`; null: as `shares` say."""
    batch_size: int = Field(16, ge=1, le=MOST_AT_ONCE)
    """Clips of a step."""
    accumulate: int = Field(1, ge=1, le=MOST_AT_ONCE)
    """In how many parts a batch is computed, where memory is short."""
    lr: float = Field(1e-3, gt=0, le=MOST_AMOUNT)
    """Highest learning rate."""
    lr_ratios: StageValues = StageValues(train=1.0, retrain=0.5, consolidate=0.1)
    """The rate of each stage, in multiples of `lr`."""
    weight_decay: float = Field(0.01, ge=0, le=MOST_AMOUNT)
    """Of AdamW."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of a stage's steps in which the rate rises."""
    clip_norm: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    """Largest norm of a gradient."""
    loss: Literal["cross_entropy", "oc_softmax", "am_softmax"] = "cross_entropy"
    """What training makes small."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """auto: bf16 where the GPU computes in it."""
    compile: bool = False
    """Training steps on GPUs are compiled, block by block; costs are timed without."""
    evaluations: int = Field(2, ge=1, le=MOST_REPEATS)
    """Evaluations on search-dev in each stage; the best state is kept."""
    early_stop: int = Field(0, ge=0, le=MOST_COUNT)
    """A stage ends after so many evaluations without gain; 0: never (else marked 'unequal budget')."""
    train_head: bool = True
    """Whether the head goes on learning after growth, in every arm alike."""
    train_stem: bool = True
    """Whether what lies below the first block learns where everything does; an encoder's convolutions seldom do."""
    encoder_lr_ratio: float = Field(1.0, gt=0, le=MOST_AMOUNT)
    """Learning rate of all below the head, new neurons too, over that of the head."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Share of the learning rate that is left with each block further down; 1: the same for all."""
    average_best: int = Field(1, ge=1, le=MOST_REPEATS)
    """The mean of so many best states is what a stage ends with, where it is better on search-dev than the best."""
    checkpoint_layers: bool = False
    """Blocks are computed again in the backward pass: less memory, more time, equal numbers."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        return self

    def unworkable(self) -> tuple[str, str] | None:
        """The setting, and why nothing can be trained so; not refused when read, for a search may set either half."""
        if self.accumulate > self.batch_size:
            reason = f"{self.accumulate} parts of a batch of {self.batch_size} clips; at most one for each clip"
            return "accumulate", f"{reason}: lower it, or raise batch_size"
        if not (self.shares.train or self.shares.retrain or self.shares.consolidate):
            return "shares", "all are 0, so nothing would train; give a stage a share"
        return None
