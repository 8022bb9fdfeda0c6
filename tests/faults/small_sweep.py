"""The smallest real sweep, by the command line, under whatever limits a shell can set: how it ends, and what is left.

A case is a few words of shell before the command. Permissions mean nothing to root, so it gives that right up.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SPACE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"
SETS = ("controls=[]", "base.data.clips=32", "base.train.steps=6")
WORDS = ("--trials", "1", "--no-finalists", "--executor", "inline", "--mlflow", "none")
LIMIT_S = 150.0


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    status: int
    out: str
    err: str
    left: str = ""  # processes of its session that outlived it

    @property
    def sentence(self) -> str:
        """What it said after `error:`."""
        return self.err.partition("error: ")[2]


def sweep(*more: str, sets: tuple[str, ...] = SETS) -> list[str]:
    """The command line of a tiny sweep."""
    pairs = [word for one in sets for word in ("--set", one)]
    return [sys.executable, "-m", "plastsearch", "sweep", str(SPACE), *WORDS, *pairs, *more]


def run(
    command: list[str],
    place: Path,
    before: str = ":",
    *,
    humble: bool = False,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run it in a shell of its own session, below `place`, after some words of shell."""
    modest = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"] if humble else []
    script = f"{before}\nexec {shlex.join([*modest, *command])}"
    root = str(SPACE.parents[1])
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    out, err = place / ".out", place / ".err"
    with out.open("wb") as said, err.open("wb") as told:
        child = subprocess.Popen(
            ["bash", "-c", script], cwd=place, env=own, stdout=said, stderr=told, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return Ended(status, out.read_text(errors="replace"), err.read_text(errors="replace"), session_of(child.pid))


def session_of(leader: int) -> str:
    """The processes of that session that still live, by their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (OSError, IndexError):
            continue
    return "\n".join(found)


def humble_possible() -> bool:
    """Whether permissions can be made to mean something here."""
    return os.geteuid() != 0 or shutil.which("setpriv") is not None
