"""Activations below the lowest place that learns: computed once per clip, shared by epochs and by trials.

    <root>/<key>/values.bin    clips × crops activations, memory-mapped
    <root>/<key>/shape.json    their shape and type, what they are of, the seconds one pass takes to compute
    <root>/<key>/worth         see below
    <root>/.draft-<key>/       being computed: its file has its full size from the start, so it is the reservation, too
    <root>/.level, .lock       see below; held while room is made

Who reads, and who computes, holds a lock on the values as long as they are mapped or written; the kernel drops it with
the process. So nothing in use is ever dropped, and a draft that nobody holds is a dead process's.

When room is short, what costs the fewest seconds per GB to compute again goes (GreedyDual-Size, Cao and Irani 1997):
with every use an entry is worth that much above the level that the last one to go was worth. A newcomer that would save
less by its use now is turned away instead, and raises the level: old entries that nobody uses age by what is asked for.

The folder belongs on a disk of the node.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from plastsearch.errors import StorageError
from plastsearch.lock import try_lock, try_share
from plastsearch.store.activations import (
    SHAPE,
    TYPES,
    VALUES,
    WORTH,
    CachedActivations,
    Draft,
    PrefixOf,
    Refused,
    append,
    hold,
    read_number,
    reserve,
    sizes,
    write_number,
)
from plastsearch.words import sized

Parts = Iterator[Tensor]  # activations of consecutive clips, crop by crop: all clips of crop 0, then of crop 1, …

DRAFT, GONE = ".draft-", ".gone-"
SHARE = 0.5  # of a disk's free space, where no budget is given
SPARE, SPARE_BYTES = 0.05, 1e9  # of a disk, or so many bytes if that is less: never taken


@dataclass(frozen=True)
class Held:
    """One entry as room is made: what it takes and what it is worth."""

    worth: float
    used: float
    size: int
    folder: Path


class Busy(Exception):
    """Another process computes the same activations."""


class PrefixCache:
    """All kept activations of a node. `refused` says, for this object, what could not be kept and why."""

    def __init__(self, root: Path, max_bytes: float | None = None) -> None:
        self.root = root
        self.max_bytes = max_bytes  # None: SHARE of what is free or already taken by it
        self.refused: list[str] = []

    def find(self, of: PrefixOf) -> CachedActivations | None:
        """What is there already."""
        folder = self.root / of.key
        try:
            return CachedActivations(folder)
        except (FileNotFoundError, BlockingIOError):  # not there, or being dropped at this moment
            return None
        except (KeyError, ValueError):  # cut short by a crash or a damaged disk: computed again
            self._remove(folder)
            return None
        except OSError as error:
            raise StorageError(
                f"{folder}: kept activations cannot be read now ({error}); try --no-activations"
            ) from error

    def make(
        self,
        of: PrefixOf,
        clips: int,
        item_bytes: int,
        parts: Callable[[], Parts],
        poll: Callable[[], None],
        *,
        seconds: float = 0.0,
        passes: float = 1.0,
    ) -> CachedActivations | None:
        """Compute and keep; None if they do not fit. One process computes, others wait (`poll` between looks).

        `item_bytes`: of one clip in float32; `seconds`: what one pass over the clips costs to compute; `passes`: how
        often they will be read now.
        """
        size = clips * of.crops * item_bytes * TYPES[of.type][0].itemsize // 4
        try:
            while True:
                try:
                    begun = self._begin(of, size, (passes - 1) * seconds, poll)
                    break
                except Busy:
                    poll()
            return (
                begun if isinstance(begun, CachedActivations) else self._fill(begun, of, clips, size, parts(), seconds)
            )
        except Refused as why:
            self.refused.append(_not_kept(of, size, str(why)))
            return None

    def note_use(self, of: PrefixOf, kept: CachedActivations) -> None:
        """Somebody reads these: they are worth what it would cost the next one to compute them again."""
        # above the level of now, not of when it was made: what is used stays young
        write_number(self.root / of.key / WORTH, self._level() + kept.seconds / kept.gb)

    def could_hold(self, of: PrefixOf, size: int) -> bool:
        """Whether entries of so many bytes in float32 are within the budget; `refused` says so if they are not."""
        size = size * TYPES[of.type][0].itemsize // 4
        allowed = self.allowed()
        if size > allowed:
            self.refused.append(_not_kept(of, size, f"the budget is {sized(allowed)} (--cache-max-gb)"))
        return size <= allowed

    def allowed(self) -> float:
        """Bytes that it may hold in all, as the disk is now."""
        place = next(folder for folder in (self.root.absolute(), *self.root.absolute().parents) if folder.is_dir())
        entries, reserved, unwritten = self._look() if place == self.root.absolute() else ([], 0, 0)
        held = reserved + sum(entry.size for entry in entries)
        return self._budget(_free(place, unwritten), held)

    def _budget(self, free: float, held: int) -> float:
        # what it holds counts as free, or the budget would shrink with every entry
        return SHARE * (free + held) if self.max_bytes is None else self.max_bytes

    def _begin(self, of: PrefixOf, size: int, gain_s: float, poll: Callable[[], None]) -> CachedActivations | Draft:
        """What is there meanwhile, or a draft of the full size, for which room has been made."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._alone(poll):
                found = self.find(of)  # once more: whoever made room before us may have made these
                if found is not None:
                    return found
                folder = self.root / f"{DRAFT}{of.key}"
                if not self._dead(folder):
                    raise Busy
                self._make_room(size, gain_s)
                return reserve(folder, size)
        except OSError as error:
            raise Refused(str(error)) from error

    @contextlib.contextmanager
    def _alone(self, poll: Callable[[], None]) -> Iterator[None]:
        """The only process that makes room or takes it."""
        with (self.root / ".lock").open("ab") as file:
            while not try_lock(file.fileno()):
                poll()
            yield

    def _fill(
        self, draft: Draft, of: PrefixOf, clips: int, size: int, parts: Parts, seconds: float
    ) -> CachedActivations:
        """Write what is computed, and publish it in one rename; OverflowError where half precision cannot hold it."""
        # not files.whole_folder: this draft has a name that others know, for it is the reservation of its room, too
        try:
            shape: tuple[int, ...] = ()
            written = 0
            for part in parts:
                shape = tuple(part.shape[1:])
                written += append(draft.file, part, TYPES[of.type][1])
            assert written == size, (written, size)
            what = {"shape": [clips * of.crops, *shape], "count": clips, "seconds": seconds, **vars(of)}
            return self._publish(draft, of, json.dumps(what))
        finally:
            os.close(draft.file)
            shutil.rmtree(draft.folder, ignore_errors=True)

    def _publish(self, draft: Draft, of: PrefixOf, what: str) -> CachedActivations:
        try:
            os.fsync(draft.file)  # its full size stands from the start: after a power cut nothing else tells a hole
            (draft.folder / SHAPE).write_text(what)
            try_share(draft.file)  # between alone and shared somebody may clear the draft away: then it is gone below
            kept = CachedActivations(draft.folder)
            draft.folder.rename(self.root / of.key)
        except OSError as error:
            raise Refused(str(error)) from error
        return kept

    def _make_room(self, wanted: int, gain_s: float) -> None:
        """Drop what is worth least until `wanted` bytes fit, or nothing if that is not enough; Refused then."""
        self._clear()
        entries, reserved, unwritten = self._look()
        free = _free(self.root, unwritten)
        held = reserved + sum(entry.size for entry in entries)
        budget = self._budget(free, held)
        lacking = max(held + wanted - budget, wanted - free)
        if wanted > budget:
            raise Refused(f"the budget is {sized(budget)} (--cache-max-gb)")
        own = self._level() + gain_s / (wanted / 1e9) if wanted else 0.0
        # All that is to go is locked before any of it goes: half a choice would cost others and gain us nothing.
        with contextlib.ExitStack() as locks:
            going: list[Held] = []
            for entry in sorted(entries, key=lambda entry: (entry.worth, entry.used)):
                if lacking <= 0:
                    break
                if entry.worth > own:
                    write_number(self.root / ".level", own)
                    raise Refused("what is kept saves more seconds per GB")
                if hold(entry.folder / VALUES, locks):
                    going.append(entry)
                    lacking -= entry.size
            if lacking > 0:
                raise Refused("what is kept, or being computed, is in use")
            for entry in going:
                self._remove(entry.folder)
        if going:
            write_number(self.root / ".level", going[-1].worth)

    def _look(self) -> tuple[list[Held], int, int]:
        """Every entry; the bytes that drafts have reserved, and those of them that are not on the disk yet."""
        entries = []
        reserved = 0
        unwritten = 0
        for folder in self.root.iterdir():
            try:
                size, there = sizes(folder / VALUES)
                used = folder.stat().st_mtime
            except (FileNotFoundError, NotADirectoryError):  # no entry, or dropped meanwhile
                continue
            if folder.name.startswith(DRAFT):
                reserved += size
                unwritten += size - there
            elif not folder.name.startswith(GONE):
                entries.append(Held(read_number(folder / WORTH), used, size, folder))
        return entries, reserved, unwritten

    def _clear(self) -> None:
        """Delete what dead processes left; only while nobody else makes room."""
        for folder in self.root.iterdir():
            if folder.name.startswith(DRAFT):
                self._dead(folder)
            elif folder.name.startswith(GONE):
                shutil.rmtree(folder, ignore_errors=True)

    def _dead(self, draft: Path) -> bool:
        """No draft, or none any more: whoever computed it has ended."""
        with contextlib.ExitStack() as lock:
            if (draft / VALUES).exists() and not hold(draft / VALUES, lock):
                return False
            shutil.rmtree(draft, ignore_errors=True)
        return True

    def _remove(self, folder: Path) -> None:
        """Out of sight in one rename, then deleted."""
        hidden = self.root / f"{GONE}{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            folder.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)

    def _level(self) -> float:
        return read_number(self.root / ".level")


def _not_kept(of: PrefixOf, size: int, why: str) -> str:
    return f"activations at {of.cut} are not kept ({sized(size)}): {why}"


def _free(folder: Path, unwritten: int) -> float:
    """What a disk has left, beside what is spared and what drafts are still going to write."""
    disk = shutil.disk_usage(folder)
    return disk.free - unwritten - min(SPARE * disk.total, SPARE_BYTES)
