"""`python -m tests.fuzz --count 10000 --seed 7`: the whole fuzzer outside of pytest, and a table of what came of it."""

import argparse
import os
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, which the inputs need

import tests.conftest  # noqa: F401 - the surroundings of all tests

ROOM = 2 << 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="end after so long, and count what was tried")
    parser.add_argument("--only", default="", help="recipes whose command line begins so, e.g. 'store ls'")
    parser.add_argument("--number", type=int, help="this input alone, in a folder that is kept")
    asked = parser.parse_args()
    memory = Path("/dev/shm")  # thousands of small folders: a disk would be what is waited for
    fast = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if fast else None))
    try:
        return _run(asked, folder)
    finally:
        if asked.number is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stdout.write(f"kept: {folder}\n")


def _run(asked: argparse.Namespace, folder: Path) -> int:
    from tests.found_models import three_sweeps
    from tests.fuzz import everything  # noqa: F401
    from tests.fuzz.boxes import Tally, fuzz
    from tests.fuzz.inputs import make_inputs
    from tests.fuzz.recipes import RECIPES

    whole = make_inputs(folder / "whole", three_sweeps(folder / "found", ["grnn"]))
    recipes = [one for one in RECIPES if " ".join(one.words).startswith(asked.only)]
    if asked.number is not None:
        (tried,) = fuzz(recipes, whole, folder, asked.seed, [asked.number])
        sys.stdout.write(f"{tried.told}\nstatus {tried.outcome.status}, {tried.fault}\n{tried.outcome.text}\n")
        return int(tried.fault is not None)
    begin = time.monotonic()
    children = []
    for part in range(asked.processes):
        child = os.fork()
        if child == 0:
            tally = Tally()
            numbers = range(part, asked.count, asked.processes)
            for tried in fuzz(recipes, whole, folder / f"part{part}", asked.seed, numbers):
                tally.note(tried)
                if tried.fault:
                    sys.stderr.write(f"{tried}\n")
                    sys.stderr.flush()
                if time.monotonic() - begin > 60 * asked.minutes:
                    break
            (folder / f"{part}.pickle").write_bytes(pickle.dumps(tally))
            os._exit(0)
        children.append(child)
    whole_tally = Tally()
    for part, child in enumerate(children):
        os.waitpid(child, 0)
        whole_tally.add(pickle.loads((folder / f"{part}.pickle").read_bytes()))
    minutes = (time.monotonic() - begin) / 60
    sys.stdout.write(
        f"{whole_tally.text()}\nseed {asked.seed}, {minutes:.0f} minutes, {len(whole_tally.faults)} faults\n"
    )
    return int(bool(whole_tally.faults))


sys.exit(main())
