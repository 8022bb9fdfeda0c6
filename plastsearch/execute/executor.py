"""Between the sweep (what to run, what was heard) and who runs it: this process (inline.py) or Ray (ray_tune.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from plastsearch.execute.messages import Message, Task


@dataclass(frozen=True)
class Attempt:
    """One try at one trial; retries, deferrals and resumes are new attempts at the same trial."""

    trial: int
    attempt: int
    task: Task


# The two sides are protocols, so that the driver can be tested without Ray and both executors against one driver.
class Driver(Protocol):
    """The sweep's side: hands out attempts and takes down what becomes of them. Called from one thread only."""

    def next(self) -> Attempt | None:
        """The attempt to start now; None if there is none at the moment (or, when `over`, ever)."""

    @property
    def over(self) -> bool:
        """Whether no attempt will come any more."""

    @property
    def interrupted(self) -> bool:
        """Whether someone asked to stop: what runs may part at its next report."""

    @property
    def stopping(self) -> bool:
        """Whether running attempts must be dropped now."""

    def started(self, attempt: Attempt, node: str | None = None) -> None:
        """A worker took it up."""

    def heard(self, attempt: Attempt, message: Message) -> bool:
        """Take a message down; False: listen no further and drop the attempt."""

    def lost(self, attempt: Attempt, reason: str, *, blameless: bool = False) -> None:
        """Its worker is gone without a word; `blameless`: with its whole node."""

    def overdue(self) -> list[tuple[Attempt, str]]:
        """Attempts whose worker must be killed, each with the reason."""

    def say(self, text: str) -> None:
        """Something the user should know that is no part of the journal."""

    def tick(self) -> None:
        """Called a few times a second at least."""


class Meters(Protocol):
    """Where numbers about a sweep can be told to whoever watches the cluster."""

    def set(self, name: str, text: str, value: float, tags: Mapping[str, str]) -> None:
        """A number that goes up and down; `text` says what it is."""

    def count(self, name: str, text: str, total: float, tags: Mapping[str, str]) -> None:
        """A number that only grows, told as it stands."""


class Executor(Protocol):
    """Runs attempts until the driver has no more."""

    @property
    def meters(self) -> Meters | None:
        """Who takes numbers about the sweep; None where nobody can ask for them."""

    @property
    def slots(self) -> int:
        """Trials at a time."""

    @property
    def cpus(self) -> float:
        """Cores of one trial."""

    @property
    def gpus(self) -> float:
        """GPUs of one trial."""

    @property
    def device(self) -> str:
        """What a trial's `device` is: cuda, cpu, or auto where nobody asked for either."""

    @property
    def trouble(self) -> str | None:
        """Why it ended before the driver was over and can do nothing more; the process should be left at once."""

    def run(self, driver: Driver, abandon: Callable[[str], None] | None = None) -> None:
        """Serve the driver until it is over or stopping; should this thread never return, another calls `abandon`."""

    def close(self) -> None:
        """Leave no process and no file behind."""
