"""Draws a running sweep in a short-lived process: figures would cost its driver 60 MB for good, and the interpreter."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from plastsearch.errors import PlastsearchError
from plastsearch.tracking.mlflow_pages import Rendering

PATIENCE_S = 300.0  # a drawing takes seconds; a machine that swaps may need minutes


def render(folder: Path) -> Rendering:
    """What report/publish.py renders, drawn apart; out of reach of a Ctrl-C, which is meant for the driver."""
    command = [sys.executable, "-m", "plastsearch.report.apart", str(folder)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise PlastsearchError(f"{folder}: its figures could not be drawn ({words[-1] if words else done.returncode})")
    drawn = pickle.loads(done.stdout)
    assert isinstance(drawn, Rendering)
    return drawn


def main() -> None:
    """The process apart, which steps back for trials."""
    from plastsearch.analysis.importance import refresh
    from plastsearch.analysis.results import load_results
    from plastsearch.report.publish import render as draw

    os.nice(10)
    folder = Path(sys.argv[1])
    refresh(load_results(folder))  # should it fail, `report` and the end of the sweep say so
    found = pickle.dumps(draw(folder))
    sys.stdout.buffer.write(found)


if __name__ == "__main__":
    main()
