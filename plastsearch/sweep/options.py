"""Where and how a sweep's session runs, the command that goes on with it, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plastsearch.addresses import typed
from plastsearch.execute import worker
from plastsearch.execute.plain_metrics import HOST
from plastsearch.sweep.notify import typed as typed_target
from plastsearch.tracking.events import Status
from plastsearch.words import typed_again

EXIT: dict[Status, int] = {"done": 0, "budget": 0, "failures": 4, "interrupted": 130}


@dataclass(frozen=True)
class Options:
    """Where and how a sweep runs; nothing here changes what it asks."""

    root: Path
    name: str | None = None
    resume: bool = False
    executor: str = "tune"
    address: str | None = None
    store: Path | None = None
    cache: Path | None = None
    clips: Path | None = None
    finalists: bool = True
    trial: str = worker.TRIAL
    finalist: str = worker.FINALIST
    space_file: Path | None = None
    overrides: Sequence[str] = ()
    mlflow: str | None = None  # as given: an address, `env:NAME`, or `none`
    deterministic: bool = False
    cache_max_gb: float | None = None
    store_max_gb: float | None = None
    checkpoint_s: float | None = None
    metrics_port: int | None = None
    metrics_host: str = HOST
    notify: Sequence[str] = ()  # as given: addresses, commands, `env:NAME`

    def store_of(self, root: Path) -> Path:
        """Where finished stages are kept."""
        return (self.store or root / "store").resolve()

    def cache_of(self, root: Path) -> Path:
        """Where a node keeps what it can make again: activations, and decoded clips if no other place is named."""
        return (self.cache or root / "cache").resolve()

    def clips_of(self, root: Path) -> Path:
        """Where decoded clips are kept."""
        return self.cache_of(root) if self.clips is None else self.clips.resolve()

    def command(self, folder: Path) -> str:
        """What to type to go on with it."""
        # All that was typed and is not in the journal; `--set` too, else the space would differ and be refused.
        words = ["plastsearch", "sweep", str(self.space_file or "SPACE"), "--out", str(folder.parent)]
        words += ["--name", folder.name, "--resume"]
        words += [word for text in self.overrides for word in ("--set", text)]
        if self.executor != "tune":
            words += ["--executor", self.executor]
        mlflow = self.mlflow and typed(self.mlflow)  # never the password of an address: this is printed and logged
        given = {"--address": self.address, "--store": self.store, "--cache": self.cache, "--clips": self.clips,
                 "--mlflow": mlflow}  # fmt: skip
        words += [word for key, value in given.items() if value for word in (key, str(value))]
        limits = {"--cache-max-gb": self.cache_max_gb, "--store-max-gb": self.store_max_gb,
                  "--checkpoint-s": self.checkpoint_s}  # fmt: skip
        words += [word for key, number in limits.items() if number is not None for word in (key, f"{number:g}")]
        if self.metrics_port is not None:
            words += ["--metrics-port", str(self.metrics_port)]
            words += ["--metrics-host", self.metrics_host] if self.metrics_host != HOST else []
        words += [word for text in self.notify for word in ("--notify", typed_target(text))]
        if self.deterministic:
            words.append("--deterministic")
        if not self.finalists:
            words.append("--no-finalists")
        return typed_again(words)


@dataclass
class Outcome:
    """How the session ended."""

    folder: Path
    status: Status
    command: str  # to resume
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    stuck: bool = False  # the executor cannot be closed: leave without a word to it

    @property
    def exit_code(self) -> int:
        """0 done, 2 no room on the disk, 4 too many failures, 130 interrupted and resumable."""
        # An interrupt with a reason is a full disk: nobody should try again before there is room.
        return 2 if self.status == "interrupted" and self.reason else EXIT[self.status]
