"""A sweep on a disk that fills up, run in a mount namespace of its own: `python -m tests.faults.small_disk WORK CASE`.

The disk is a tmpfs of some MB below WORK; clips lie beside it, and what fills it is a file that is put there at a
moment of the sweep's life. Then the file goes, and the sweep is resumed. Prints one JSON document.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.faults.small_sweep import LIMIT_S, session_of, sweep

MOMENTS = {
    "at the start": b"",
    "in a trial": b'"event":"start"',
    "at the very end": b'"event":"end"',
}
SIZE = "64m"
LEFT = {"at the start": 0, "in a trial": 16_000, "at the very end": 0}  # bytes that are left free


def fill(disk: Path, left: int) -> None:
    """Take all of a disk but that much."""
    room = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(b"x" * max(0, room.f_bavail * room.f_bsize - left))


def fill_when(disk: Path, journal: Path, word: bytes, left: int) -> None:
    """Fill it as soon as the journal says that word."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if journal.is_file() and word in journal.read_bytes():
            fill(disk, left)
            return
        time.sleep(0.002)


def command(work: Path, *more: str) -> dict[str, object]:
    """The sweep, to its end."""
    words = [*sweep("--out", str(work / "disk"), "--cache", str(work / "cache")), *more]
    child = subprocess.Popen(
        words, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    out, err = child.communicate(timeout=LIMIT_S)
    return {"status": child.returncode, "out": out, "err": err, "left": session_of(child.pid)}


def main() -> None:
    work, case = Path(sys.argv[1]), sys.argv[2]
    disk = work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
    journal = disk / "smoke" / "trials.jsonl"
    if MOMENTS[case]:
        watcher = threading.Thread(target=fill_when, args=(disk, journal, MOMENTS[case], LEFT[case]), daemon=True)
        watcher.start()
    else:
        fill(disk, LEFT[case])
    first = command(work)
    was = journal.read_text().splitlines() if journal.is_file() else []
    (disk / "filler").unlink(missing_ok=True)
    second = command(work, "--resume")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    sys.stdout.write(json.dumps({"first": first, "before": len(was), "second": second, "events": [
        {key: event.get(key) for key in ("event", "trial", "state", "status")} for event in events
    ]}) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
