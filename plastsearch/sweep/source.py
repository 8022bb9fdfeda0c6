"""Which program runs a sweep: version, and commit of the checkout, for whoever asks later what made a number."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from plastsearch import version

REVISION = "PLASTSEARCH_REVISION"  # what an image, which holds no repository, says in its place
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Source:
    """Empty where nobody can tell, as for an installed package; `+` after a commit: tracked files were changed."""

    commit: str = ""
    branch: str = ""


def source() -> Source:
    """Of the code that runs, not of the folder one stands in."""
    root = Path(version.__file__).resolve().parents[1]
    if not (root / ".git").exists():  # the package among others, inside somebody's own repository, is not part of that
        named = os.environ.get(REVISION, "").strip()
        return Source("" if named == "unknown" else named)
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
    return Source(commit + "+" * bool(commit and changed), "" if branch == "HEAD" else branch)


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a file server that does not answer
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
