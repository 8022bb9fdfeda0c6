"""`--notify`: a webhook or a command hears when a sweep begins and ends, a trial fails, or the front has a new member.

From a thread of its own: a server that hangs costs the driver nothing, and what it does not take is said once.
"""

import json
import os
import shlex
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from plastsearch.errors import PlastsearchError
from plastsearch.files import plain
from plastsearch.sweep.view import SweepView, describe, numbers, title
from plastsearch.tracking.events import Ended, Event, Finished, SessionBegun, note
from plastsearch.tracking.records import TrialRecord

NAMED = "env:"  # `--notify env:NAME`: the address, which may be a secret, stands in that variable
EXPECTED = "PLASTSEARCH_NOTIFY"
SCHEMES = ("http", "https")
Kind = Literal["begin", "front", "failed", "end"]

_TRIES = 3
_PATIENCE_S = 10.0  # with one try, and at the end of a sweep with all that is waiting
_PAUSE_S = 20.0  # between two messages of one kind: the first trials of a sweep join the front one after the other
_MOST = 8  # lines of one message


class Target(Protocol):
    """Who hears of it."""

    @property
    def name(self) -> str:
        """What may be printed."""

    def send(self, message: Mapping[str, object]) -> None:
        """Deliver it, or raise OSError with the reason."""


@dataclass(frozen=True)
class Webhook:
    """An address that takes JSON: `text` is what Slack and Mattermost show, `content` is Discord's."""

    address: str
    name: str

    def send(self, message: Mapping[str, object]) -> None:
        """POST it."""
        body = json.dumps({**message, "content": message["text"]}, allow_nan=False).encode()
        request = urllib.request.Request(self.address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            answer.read(1)


@dataclass(frozen=True)
class Command:
    """A program: the message is its last argument, all of it is JSON on its standard input."""

    words: Sequence[str]
    name: str

    def send(self, message: Mapping[str, object]) -> None:
        """Run it."""
        done = subprocess.run(
            [*self.words, str(message["text"])],
            input=json.dumps(dict(message)),
            text=True,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OSError(f"exit status {done.returncode}{f': {said[-1]}' if said else ''}")


def target(text: str) -> Target:
    """Who was meant by `--notify TEXT`; what cannot be reached at all is refused now, not on Friday night."""
    name = text.removeprefix(NAMED)
    given = os.environ.get(name, "") if name != text else text
    if not given.strip():
        raise PlastsearchError(
            f"--notify {text}: the environment variable {name} is not set; put the address or command there"
            if name != text
            else "--notify: empty; give the address of a webhook (https://…), a command, or env:NAME"
        )
    scheme = given.split("://", 1)[0].lower() if "://" in given.split()[0] else ""
    if scheme:
        return _webhook(text, given, scheme)
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise PlastsearchError(f"--notify {text}: no command ({error}); quote it as a shell wants it") from None
    if not words or shutil.which(words[0]) is None:
        raise PlastsearchError(
            f"--notify {text}: {(words or [given])[0]!r} is no program that can be found, and no address; "
            "give the address of a webhook (https://…), a command, or env:NAME"
        )
    return Command(words, words[0])


def _webhook(text: str, given: str, scheme: str) -> Webhook:
    try:
        parts = urlsplit(given)
        usable = scheme in SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0 and given.isascii()
    except ValueError:
        usable = False
    if not usable or any(mark.isspace() for mark in given):
        shown = text if text.startswith(NAMED) else f"{scheme}://…"
        raise PlastsearchError(f"--notify {shown}: no address that can be posted to; expected http://… or https://…")
    # The path of a webhook is its password: only the host is ever shown.
    return Webhook(given, f"{scheme}://{parts.hostname}")


def typed(text: str) -> str:
    """What may be printed in its place: an address may be a secret, and is expected in a variable the next time."""
    return NAMED + EXPECTED if "://" in text else text


@dataclass
class _Waiting:
    kind: Kind
    lines: list[str] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    more: int = 0


class Notifier:
    """Listens to a sweep and tells one target; close to send what is still waiting."""

    def __init__(
        self,
        target: Target,
        sweep: str,
        folder: Path,
        view: SweepView,
        tell: Callable[[Event], None],
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._target, self._sweep, self._folder, self._view, self._tell = target, sweep, folder, view, tell
        self._pause_s = pause_s
        self._said = False
        self._begun, self._finished = False, False
        self._members: set[int] | None = None
        self._heard: deque[Event] = deque()
        self._wake, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
        self._thread.start()

    def feed(self, event: Event) -> None:
        """Put it down for the thread, if it is of interest."""
        if isinstance(event, SessionBegun | Ended | Finished):
            self._heard.append(event)
            self._wake.set()

    def close(self) -> str | None:
        """Send what waits; a target that hangs is left behind."""
        self._over = True
        self._wake.set()
        self._thread.join(_PATIENCE_S)
        return f"--notify {self._target.name}: it did not take the last message" if self._thread.is_alive() else None

    def _work(self) -> None:
        waiting: dict[Kind, _Waiting] = {}
        free_at: dict[Kind, float] = {}
        while True:
            pending = [max(0.0, free_at.get(kind, 0.0) - time.monotonic()) for kind in waiting]
            self._wake.wait(min(pending) if pending else None)
            self._wake.clear()
            over = self._over
            while self._heard:
                self._note(self._heard.popleft(), waiting)
            if over and self._begun and not self._finished:
                self._add(
                    waiting, "end", f"{self._sweep} ended without a last word; {self._folder} says how far it came"
                )
            now = time.monotonic()
            ready = [kind for kind in waiting if over or self._finished or free_at.get(kind, 0.0) <= now]
            for kind in sorted(ready, key="end".__eq__):  # the end comes last, and after all that was held back
                self._send(waiting.pop(kind))
                free_at[kind] = time.monotonic() + self._pause_s
            if over:
                return

    def _note(self, event: Event, waiting: dict[Kind, _Waiting]) -> None:
        view = self._view
        match event:
            case SessionBegun():
                self._begun = True
                # Members of earlier sessions are known; of this one there are none yet.
                self._members = {record.number for record in view.front()}
                verb = "goes on" if event.resumed else "begins"
                self._add(waiting, "begin", f"{self._sweep} {verb} on {event.host}: {view.progress()}")
            case Ended(state="failed"):
                self._add(
                    waiting, "failed", f"{self._sweep}: {self._who(event.trial)} failed: {event.reason}", event.trial
                )
            case Ended(state="done"):
                for record in view.front():
                    # By what the front is now: several trials may have ended meanwhile, and one may have gone again.
                    if self._members is not None and record.number not in self._members and record.role == "search":
                        self._members.add(record.number)
                        what = (
                            f"{self._who(record.number)} is on the front{numbers(record.metrics)} ({describe(record)})"
                        )
                        self._add(waiting, "front", f"{self._sweep}: {what}", record.number)
            case Finished():
                self._finished = True
                reason = f" ({event.reason})" if event.reason else ""
                said = f"{self._sweep} has ended: {event.status}{reason}; {view.summary(over=True)}; {view.best()}"
                self._add(waiting, "end", f"{said}. Results: {self._folder}")

    def _who(self, trial: int) -> str:
        record: TrialRecord = self._view.records[trial]
        return f"trial {title(record)}"

    def _add(self, waiting: dict[Kind, _Waiting], kind: Kind, line: str, trial: int | None = None) -> None:
        found = waiting.setdefault(kind, _Waiting(kind))
        if len(found.lines) < _MOST:
            found.lines.append(line)
        else:
            found.more += 1
        if trial is not None:
            found.trials.append(trial)

    def _send(self, what: _Waiting) -> None:
        text = "\n".join([*what.lines, *([f"and {what.more} more"] if what.more else [])])
        message: dict[str, object] = {
            "text": text,
            "event": what.kind,
            "sweep": self._sweep,
            "folder": str(self._folder),
            "trials": [*what.trials],
            "best": plain(dict(self._view.front()[0].metrics)) if self._view.front() else None,
        }
        for attempt in range(_TRIES):
            try:
                self._target.send(message)
                return
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                refused = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code != 429
                if attempt + 1 == _TRIES or refused or self._over:
                    self._complain(error)
                    return
                time.sleep(2.0**attempt)

    def _complain(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            reason = getattr(error, "reason", None) or error
            self._tell(note(f"--notify {self._target.name}: not delivered ({reason}); the sweep goes on"))
