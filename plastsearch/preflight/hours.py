"""A dry run's words on memory and hours per GPU, for networks that are trained on such."""

from dataclasses import dataclass

from plastsearch.preflight.forecast import Demand
from plastsearch.spec.training import TrainConfig

# Peak of dense products in half precision, in 10¹² operations a second, as makers state it.
GPUS = {"T4": 65.0, "RTX 4090": 165.0, "A100": 312.0, "H100": 990.0}
SHARE = 0.35  # of the peak that training of transformers reaches, roughly
STATE = 16  # bytes of a parameter that learns: weight, gradient, two moments of Adam


@dataclass(frozen=True)
class Needs:
    """What one trial needs of a GPU."""

    state_gb: float  # weights, gradients and the optimiser's state
    clip_gb: float  # what autograd keeps of a clip, in float32
    at_once: int  # clips, after accumulation
    half: bool  # whether GPUs compute in bf16
    hours: dict[str, float] | None  # of one trial, by GPU; None where its steps are not known

    @property
    def memory_gb(self) -> float:
        """At the most: all learns, nothing is kept from earlier stages."""
        return self.state_gb + self.at_once * self.clip_gb * (0.5 if self.half else 1.0)

    def text(self) -> str:
        """For the terminal."""
        kind = "bf16" if self.half else "float32"
        memory = (
            f"memory of a full training step: about {self.memory_gb:.1f} GB ({self.state_gb:.1f} of weights and Adam, "
            f"{self.at_once} clip{'s' * (self.at_once > 1)} at once in {kind})"
        )
        if self.hours is None:
            return f"{memory}; hours: not known before the clips are counted"
        each = ", ".join(
            f"{f'{hours:,.1f} h' if hours >= 1 else f'{60 * hours:,.0f} min'} on {name}"
            for name, hours in self.hours.items()
        )
        return f"{memory}; a trial: {each} (at {SHARE:.0%} of the peak, nothing shared)"


def needs(demand: Demand, train: TrainConfig, steps: int | None) -> Needs:
    """From what the child has found of shapes."""
    hours = None
    if steps is not None:
        gflop = demand.clip_gflop * train.batch_size * steps
        hours = {name: gflop / (1e3 * peak * SHARE) / 3600 for name, peak in GPUS.items()}
    return Needs(
        state_gb=STATE * demand.parameters / 1e9, clip_gb=demand.clip_bytes / 1e9,
        at_once=-(-train.batch_size // train.accumulate), half=train.precision != "float32", hours=hours,
    )  # fmt: skip
