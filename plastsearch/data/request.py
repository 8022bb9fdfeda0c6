"""What opening a corpus needs to know, as an interface: TrialConfig's data section has it, and so may anything else."""

from dataclasses import dataclass
from typing import Literal, Protocol

from plastsearch.data.audio import Storage


class SearchDevRequest(Protocol):
    """What the search may score on."""

    @property
    def policy(self) -> Literal["held_out_attacks", "dev", "second_corpus"]: ...
    @property
    def attacks(self) -> tuple[str, ...]: ...
    @property
    def corpus(self) -> str | None: ...
    @property
    def root(self) -> str | None: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def manifest(self) -> str | None: ...


class DataRequest(Protocol):
    """Which clips, and how they are stored."""

    @property
    def corpus(self) -> str: ...
    @property
    def root(self) -> str | None: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def manifest(self) -> str | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def clips(self) -> int | None: ...
    @property
    def difficulty(self) -> float: ...
    @property
    def search_dev(self) -> SearchDevRequest: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def augment(self) -> tuple[str, ...]: ...
    @property
    def on_bad(self) -> Literal["refuse", "skip"]: ...


@dataclass(frozen=True)
class Source:
    """One corpus to read: the part of a request that names files."""

    corpus: str
    root: str | None = None
    variant: str | None = None
    manifest: str | None = None
    seed: int = 0
    clips: int | None = None
    difficulty: float = 0.5
