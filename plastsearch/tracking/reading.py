"""Lines of a journal as events that make sense one after the other; what does not is damage, by its number and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from plastsearch.errors import PlastsearchError, StorageError
from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.events import Ended, Event, Opened, Proposed, Retried, Started, TrialEvent, in_words, parse

VERSION = 1
Numbered = tuple[int, bytes]


@dataclass(frozen=True)
class LeftOut:
    """A line that cannot be used: its number, why, and the trial it is about, if it says one."""

    number: int
    why: str
    trial: int | None = None


@dataclass
class Reader:
    """Takes lines in their order; ValueError: this one is damaged, and nothing of it was taken in.

    With `configs` trials must be of configurations that this program understands, too.
    """

    path: Path
    configs: bool = False
    _attempts: dict[int, int] = field(default_factory=dict)  # of each trial: the last that began
    _ended: dict[int, int] = field(default_factory=dict)  # trial → the line in which it ended
    _head: int | None = None

    def take(self, line: bytes, number: int) -> Event:
        """The event of a line, if it can follow those before."""
        event = parse(line)
        if isinstance(event, Opened):
            self._open(event, number)
        if isinstance(event, Proposed):
            self._propose(event)
        elif isinstance(event, TrialEvent):
            self._follow(event, number)
        return event

    def _open(self, event: Opened, number: int) -> None:
        if event.version > VERSION:
            raise PlastsearchError(
                f"{self.path}:{number}: the journal is of version {event.version}, and this plastsearch reads versions "
                f"up to {VERSION}; use the plastsearch that wrote it, or a later one"
            )
        if self._head is not None:
            raise ValueError(f"a second head; the first is line {self._head}")
        self._head = number

    def _propose(self, event: Proposed) -> None:
        if event.trial in self._attempts:
            raise ValueError(f"trial {event.trial} is proposed a second time")
        if event.reuse_of is not None and event.reuse_of not in self._attempts:
            raise ValueError(f"reuse_of: no line before it proposes trial {event.reuse_of}")
        if self.configs:
            try:
                TrialConfig.recorded(event.config)
            except ValidationError as error:
                raise ValueError(f"config.{in_words(error)}") from None
        self._attempts[event.trial] = 0

    def _follow(self, event: TrialEvent, number: int) -> None:
        trial = event.trial
        if trial not in self._attempts:
            raise ValueError(f"no line before it proposes trial {trial}")
        if isinstance(event, Retried) and event.reopened:
            self._ended.pop(trial, None)
        if trial in self._ended:
            raise ValueError(f"trial {trial} ended in line {self._ended[trial]} already")
        if isinstance(event, Started):
            if event.attempt <= self._attempts[trial]:
                raise ValueError(f"attempt {event.attempt} of trial {trial} began before")
            self._attempts[trial] = event.attempt
        elif isinstance(event, Ended):
            self._ended[trial] = number


def content_of(path: Path) -> bytes:
    """What a journal's file holds."""
    if not path.is_file():
        raise PlastsearchError(f"{path.parent}: no sweep here ({path.name} is missing)")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from None


def numbered(content: bytes) -> Iterator[Numbered]:
    """Whole lines with their numbers; an unfinished last one, still being written or torn, is left out."""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        if line.strip(b"\0 \r"):  # a file system that was cut off may leave a run of zero bytes at the end
            yield number, line


def sound(lines: Iterable[Numbered], reader: Reader) -> tuple[list[tuple[bytes, Event]], list[LeftOut]]:
    """The lines that make sense without the others, and those others; PlastsearchError where no line would be left."""
    kept: list[tuple[bytes, Event]] = []
    left_out: list[LeftOut] = []
    for number, line in lines:
        try:
            kept.append((line, reader.take(line, number)))
        except ValueError as error:
            left_out.append(LeftOut(number, str(error), _trial_of(line)))
    if left_out and not any(isinstance(event, Opened) for _, event in kept):
        raise PlastsearchError(
            f"{reader.path}:{left_out[0].number}: the head of the journal, which says what was asked, cannot be read "
            f"({left_out[0].why}); nothing can stand in for it: restore the file from a copy"
        )
    return kept, left_out


def _trial_of(line: bytes) -> int | None:
    """The trial that a damaged line is about, if that much can be read."""
    try:
        return TrialEvent.model_validate_json(line).trial
    except ValueError:
        return None


def shortened(text: str, most: int = 200) -> str:
    """So much of a text; what is in a damaged line may be long."""
    return text if len(text) <= most else f"{text[:most]} …"
