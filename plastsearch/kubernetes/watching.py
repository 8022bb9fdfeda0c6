"""`k8s watch`: one look at a sweep as lines, and the loop that looks until it has ended; drawn by the command."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath

from plastsearch.errors import ClusterError, PlastsearchError
from plastsearch.kubernetes import kubectl, running
from plastsearch.kubernetes.following import Progress
from plastsearch.kubernetes.running import ROOT, Happening, Status
from plastsearch.kubernetes.sweep_rules import Reader

EVERY_S = 5.0
PATIENCE_S = 600.0  # without an answer: an API server that is replaced is back sooner
FAILED_ELSEWHERE = ClusterError.exit_code  # no verdict of the sweep's own: the cluster ended it


@dataclass(frozen=True)
class Look:
    """What one look found."""

    name: str
    namespace: str
    status: Status
    progress: str
    events: Sequence[Happening] = ()

    def lines(self, now: datetime) -> list[str]:
        """One screen."""
        status = self.status
        attempt, most = status.attempts
        workers = status.workers
        rows = [
            f"{self.name} in namespace {self.namespace}",
            f"job       {status.job or 'not submitted yet'}, cluster {status.deployment or 'not begun'}",
            f"attempt   {attempt} of {most}",
            f"workers   {'none yet' if workers is None else f'{workers[0]} ready of {workers[1]} wanted'}",
            f"trials    {self.progress}",
        ]
        if status.why:
            rows.append(f"KubeRay   {status.why}")
        return [*rows, *([""] if self.events else []), *(event.line(now) for event in self.events)]


@dataclass
class Watch:
    """A sweep that is watched; `look` may be called again and again."""

    name: str
    namespace: str
    read: Reader
    progress: Progress | None = None
    last: Look | None = None
    _said: str = field(default="", repr=False)

    def look(self) -> Look:
        """Ask the cluster once; whatever but the job cannot be read is said on its line instead."""
        status = running.job(self.name, self.namespace)
        if self.progress is None:
            folder = status.folder(self.read) or PurePosixPath(ROOT) / self.name
            self.progress = Progress(folder)
        try:
            place = running.place(self.name, self.namespace)
            if place is not None:
                self.progress.read(place)
                self._said = self.progress.line()
            else:
                self._said = self._said or "not to be read yet: neither a head nor a toolbox is ready"
            events = running.happenings(self.name, self.namespace)
        except PlastsearchError as error:  # a head that has just gone, say: the next look may do better
            self._said, events = f"not to be read now ({error})", []
        self.last = Look(self.name, self.namespace, status, self._said, events)
        return self.last

    def ending(self) -> tuple[int, str]:
        """Exit status and last words, once the job has ended or gone."""
        assert self.progress is not None
        status = self.last.status if self.last else Status({})
        if status.job == "SUCCEEDED" and status.deployment == "Complete":
            return 0, f"{self.name} has ended well"
        judged = self._verdict()
        if judged is not None:
            return judged[0], f"{self.name} has failed for good: {judged[1]}"
        if self.progress.exit_code is not None and self.progress.finished is not None:
            reason = self.progress.finished.reason
            words = f"{self.progress.finished.status}{f' ({reason})' if reason else ''}"
            return self.progress.exit_code, f"{self.name} has ended: {words}"
        return FAILED_ELSEWHERE, f"{self.name} was ended by the cluster, not by its driver: {status.why or 'no reason'}"

    def _verdict(self) -> tuple[int, str] | None:
        assert self.progress is not None
        try:
            place = running.place(self.name, self.namespace)
            return self.progress.verdict(place) if place is not None else None
        except PlastsearchError:
            return None


def follow(
    watch: Watch,
    show: Callable[[list[str]], None],
    *,
    every_s: float = EVERY_S,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[int, str]:
    """Look until the job has ended or was deleted; exit status and last words."""
    silent: float | None = None
    while True:
        try:
            look = watch.look()
            silent = None
        except kubectl.MissingError:
            if watch.last is None:
                raise
            if watch.progress is not None and watch.progress.exit_code is not None:
                return watch.ending()  # its time to be kept after the end was over
            raise ClusterError(
                f"RayJob {watch.name} was deleted while it was watched; what it had found is kept: "
                f"plastsearch k8s fetch {watch.name} DIR --namespace {watch.namespace}"
            ) from None
        except kubectl.UnreachableError as error:
            silent = clock() if silent is None else silent
            if watch.last is None or clock() - silent > patience_s:
                raise
            show([*watch.last.lines(datetime.now(UTC)), f"no answer: {error}; asked again in {every_s:g} s"])
            sleep(every_s)
            continue
        show(look.lines(datetime.now(UTC)))
        if look.status.ended:
            return watch.ending()
        sleep(every_s)
