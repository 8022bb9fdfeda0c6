"""A whole session in a process of its own, to be interrupted. Arguments: root, trials, executor, further overrides."""

import json
import os
import sys
from pathlib import Path

from plastsearch.errors import PlastsearchError
from plastsearch.spec.load import load_sweep
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.display import JsonLines
from plastsearch.sweep.options import Options, Outcome
from plastsearch.sweep.session import run_sweep
from tests.sweep.fake_trials import FUNCTION

SPACE = """
question: Does the driver keep its word?
base: {model: {name: wav2vec2, preset: tiny}, data: {corpus: synthetic}, method: plasticity}
space:
  layers: {kind: subset, of: "encoder.*.ffn", min: 1, max: 3}
  neurons: {kind: int, low: 16, high: 128, step: 16}
  criterion: {kind: choice, of: [taylor, magnitude, random]}
search: {trials: 6, seed: 0, sampler: random}
finalists: {top: 2, seeds: 2}
"""


def spec(root: Path, *overrides: str) -> SweepSpec:
    """The space, read from a file as anybody's would be."""
    root.mkdir(parents=True, exist_ok=True)
    file = root / "fake.yaml"
    file.write_text(SPACE)
    return load_sweep(file, overrides)


def session(root: Path, *overrides: str, listen=lambda folder, view: [], **options) -> Outcome:
    """One session of fake trials."""
    function = os.environ.get("PLASTSEARCH_TEST_TRIAL", FUNCTION)
    asked = {"executor": "inline", "trial": function, "finalist": function, "overrides": overrides, **options}
    return run_sweep(spec(root, *overrides), Options(root=root, space_file=root / "fake.yaml", **asked), listen)


if __name__ == "__main__":
    root, resume, executor, *overrides = sys.argv[1:]
    try:
        outcome = session(
            Path(root),
            *overrides,
            listen=lambda folder, view: [JsonLines()],
            resume=resume == "resume",
            executor=executor,
            address=os.environ.get("PLASTSEARCH_TEST_ADDRESS"),
        )
    except PlastsearchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    print(json.dumps({"outcome": outcome.status, "command": outcome.command}), flush=True)
    if outcome.stuck:
        os._exit(outcome.exit_code)
    sys.exit(outcome.exit_code)
