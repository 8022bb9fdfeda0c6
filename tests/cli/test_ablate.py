"""`plastsearch ablate` as it is typed: a real sweep, a kill, an interrupt, the answer and its exit statuses."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep

SMOKE = "search_spaces/smoke.yaml"


def ablate(*words, **more):
    command = [sys.executable, "-m", "plastsearch.cli.main", "ablate", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def test_a_dry_run_tells_what_it_would_take(tmp_path):
    sweep = make_sweep(tmp_path / "w2v_layers")
    told = CliRunner().invoke(app, ["ablate", str(sweep), "4", "--dry-run", "--seeds", "3"])
    assert told.exit_code == 0
    assert "- grow at encoder.1.ffn" in told.stdout
    assert "runs: 138 at most with 3 seeds each; " in told.stdout
    assert "kept from the sweep" in told.stdout
    assert "time: about" in told.stdout
    found = json.loads(CliRunner().invoke(app, ["ablate", str(sweep), "4", "--dry-run", "--json"]).stdout)
    assert (found["trial"], found["fields"], found["most"]) == (4, 7, 46)
    assert not (sweep / "ablate").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["77"], "no trial 77 in its table"),
        (["0"], "is the baseline itself"),
        (["best", "--executor", "threads"], "--executor threads: unknown; known: tune, inline"),
        (["best", "--metric", "loss"], "unknown metric 'loss'"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, words, message):
    sweep = make_sweep(tmp_path / "w2v_layers")
    told = CliRunner().invoke(app, ["ablate", str(sweep), *words])
    assert told.exit_code == 1
    assert type(told.exception).__name__ == "PlastsearchError"
    assert message in str(told.exception)
    assert "\n" not in str(told.exception)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A real sweep of tiny trials, with MLflow beside it."""
    root = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "plastsearch.cli.main", "sweep", SMOKE, "--out", str(root), "--executor", "inline"]
    done = subprocess.run([*command, "--no-finalists", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root / "smoke"


@pytest.mark.slow
def test_a_real_ablation_killed_and_interrupted_goes_on_and_is_in_the_report_and_mlflow(smoke):
    journal = smoke / "ablate" / "4" / FILE
    command = [sys.executable, "-m", "plastsearch.cli.main", "ablate", str(smoke), "4", "--executor", "inline"]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    _until(lambda: journal.is_file() and b'"event":"end"' in journal.read_bytes())
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    refused = ablate(smoke, "4", "--executor", "inline")
    assert refused.returncode == 2
    assert "unfinished" in refused.stderr
    resume = next(line.strip() for line in refused.stderr.splitlines() if line.strip().startswith("plastsearch ablate"))
    assert resume.endswith("4 --resume --executor inline --store " + str(smoke.parent / "store") + " --cache "
                           + str(smoke.parent / "cache"))  # fmt: skip
    stopped = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    ends = journal.read_bytes().count(b'"event":"start"')
    _until(lambda: journal.read_bytes().count(b'"event":"start"') > ends)
    os.kill(stopped.pid, signal.SIGINT)
    _, said = stopped.communicate()
    assert stopped.returncode == 130
    assert "go on with: plastsearch ablate" in said
    done = ablate(smoke, "4", "--executor", "inline", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    records = trials(read(journal.parent)).values()
    assert len({record.id for record in records}) == len(records) == found["runs"]
    assert all(record.state == "done" for record in records)
    assert found["forward"]["steps"][0]["low"] is not None  # paired by clip
    assert found["mlflow"] is True
    artifacts = [path.name for path in (smoke / "mlflow").rglob("ablation.*")]
    assert sorted(artifacts) == ["ablation.csv", "ablation.html", "ablation.json", "ablation.png"]
    assert "<h2>Why did it win?</h2>\n<h3>Trial 4</h3>" in (smoke / "report" / "report.html").read_text()
    again = ablate(smoke, "4", "--executor", "inline", "--json")  # all is there: nothing runs, the answer is the same
    assert json.loads(again.stdout)["forward"] == found["forward"]


@pytest.mark.slow
def test_shared_stages_are_not_computed_again(smoke):
    done = ablate(smoke, "3", "--executor", "inline", "--mlflow", "none", "--json")
    assert done.returncode == 0, done.stderr
    records = trials(read(smoke / "ablate" / "3")).values()
    starts = {stage["from"] for record in records for stage in record.details["stages"] if stage["stage"] == "train"}
    grown = [record for record in records if record.config["method"] != "baseline"]
    assert starts <= {"reused", "resumed"}
    assert sum(stage["from"] == "reused" for record in grown for stage in record.details["stages"]) > len(grown)


def _until(true, patience_s=60.0):
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience_s
        time.sleep(0.02)
