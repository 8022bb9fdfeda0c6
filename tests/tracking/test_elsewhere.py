"""The example of a tracker of one's own does what docs/tracking.md says of it."""

import json
import subprocess
import sys
from pathlib import Path

from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep

EXAMPLE = Path(__file__).parents[2] / "examples" / "track_elsewhere.py"


def run(folder, into):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder), str(into)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_example_mirrors_each_trial_once_and_says_what_went_wrong(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers", search=6)
    (tmp_path / "into").write_text("a file where a folder is wanted")
    said = run(folder, tmp_path / "into")
    assert "the folder" in said
    assert "cannot be written (FileExistsError" in said
    (tmp_path / "into").unlink()
    for _ in range(2):
        assert run(folder, tmp_path / "into") == "level with the journal"
        found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "into").iterdir()}
        records = trials(read(folder))
        assert found.keys() == {f"w2v_layers-{number}" for number in records}
        for number, record in records.items():
            told = found[f"w2v_layers-{number}"]
            assert (told["state"], told["metrics"]) == (record.state, record.metrics)
            assert [one["step"] for one in told["curve"]] == [one.step for one in record.history]
    assert len(EXAMPLE.read_text().splitlines()) <= 45
