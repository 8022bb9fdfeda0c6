"""Each command of the README does what it says: run as a person would, real Ray and MLflow, on a small budget."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plastsearch.analysis.results import load_results
from plastsearch.audio import write_audio

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SMALL = ["--trials", "2", "--set", "base.train.steps=12", "--set", "base.data.clips=32", "--set", "base.timing_steps=3"]
SMALL += ["--set", "finalists={top: 1, seeds: 1}"]
# This test is run by the one; the others need a cluster, and are tested with one that is pretended in tests/k8s.
NOT_RUN = {"make test", "plastsearch k8s"}
IN_USE = ("score", "calibrate", "compare", "explain", "export")


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = "\n".join(blocks()).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True)) for line in lines if line.strip()]


class Person:
    """Types the README's commands in a folder of their own, with paths to what is there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.out = home / "plastsearch-runs"
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "160",
        }

    def types(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        line = command.replace(".venv/bin/", "").replace("search_spaces/", f"{ROOT}/search_spaces/")
        line = line.replace("/data/LA", str(self.home / "LA")).replace(
            "facebook/wav2vec2-base", str(self.home / "encoder")
        )
        return subprocess.run(
            [*line.split(" "), *more],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("readme"))


@pytest.fixture(scope="module")
def default_sweep(person: Person) -> Path:
    """`make sweep`, with its set-up step, in the repository itself."""
    arguments = shlex.join([*SMALL, "--out", str(person.out)])
    if shutil.which("make") is None or not (ROOT / ".venv").is_dir():
        done = person.types("plastsearch sweep search_spaces/w2v_layers.yaml", *SMALL, "--out", str(person.out))
    else:
        done = person.types(f"make -C {ROOT} sweep", f"ARGS={arguments}")
    assert done.returncode == 0, done.stdout + done.stderr
    return person.out / "w2v_layers"


def test_every_command_is_known_here() -> None:
    """A new command in the README needs a test below."""
    tested = {
        "make sweep",
        "plastsearch ui",
        "plastsearch report",
        "plastsearch data",
        "plastsearch check",
        "plastsearch sites",
        "plastsearch noise",
    }
    tested |= {"plastsearch sweep", "plastsearch trial", "make gpu"}  # the last in test_gpu_command.py
    tested |= {f"plastsearch {name}" for name in IN_USE}
    kinds = {" ".join(command.replace(".venv/bin/", "").split()[:2]) for command in commands()}
    assert kinds == tested | NOT_RUN


@pytest.mark.ray
def test_the_default_sweep_is_in_mlflow(default_sweep: Path) -> None:
    """One parent run, and a finished child run with every figure for each trial and control."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{default_sweep}/mlflow/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()], max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    search = [run for run in children if run.data.tags["plastsearch.role"] == "search"]
    controls = [run for run in children if run.data.tags["plastsearch.role"] == "control"]
    assert (len(search), len(controls)) == (2, 3)
    wanted = {"dev_eer", "backward_ms", "backward_ratio", "params_total", "params_trainable", "params_added"}
    for run in children:
        assert run.info.status == "FINISHED"
        assert wanted <= set(run.data.metrics), run.data.tags
    assert [item.path for item in client.list_artifacts(parents[0].info.run_id)]


@pytest.mark.ray
def test_what_the_default_sweep_leaves(person: Person, default_sweep: Path) -> None:
    """A report that prints, and the address of the page with the front."""
    for command in commands():
        if " ui " in command:
            shown = person.types(command, "--no-serve")
            assert shown.returncode == 0, shown.stderr
            assert "artifacts" in shown.stdout
        if " report " in command:
            told = person.types(command)
            assert told.returncode == 0, told.stderr
            assert "dev EER" in told.stdout
            assert "\x1b[" not in told.stdout, "colour codes in a pipe"
            document = json.loads(person.types(command, "--json").stdout)
            assert document["name"] == "w2v_layers"


@pytest.mark.slow
@pytest.mark.ray
def test_the_model_that_was_found_is_an_ordinary_one(person: Person, default_sweep: Path) -> None:
    """The README's commands on the winner of the sweep that its first command ran."""
    rows = [row for row in load_results(default_sweep).rows if "dev_auc" in row.metrics]
    clips = person.home / "clips"
    clips.mkdir()
    for name in ("a", "b"):
        write_audio(clips / f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal(20_000), 16_000)
    for command in commands():
        if command.split()[1] not in IN_USE:
            continue
        more = ["--no-evidence"] if " explain " in command else []  # its tests are in tests/explain
        if " calibrate " in command:  # after so few steps the best may be worse than chance, which is refused
            command = command.replace(":best", f":{max(rows, key=lambda row: row.metrics['dev_auc']).number}")
        done = person.types(command, *more)
        if " calibrate " in command and done.returncode == 2:  # all may be worse than chance by then
            assert "no calibration can mend that" in done.stderr
            continue
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (person.home / "detector" / "README.md").is_file()
    found = person.types("plastsearch score detector clips/ --json-lines").stdout.splitlines()
    assert [json.loads(line)["path"] for line in found] == ["clips/a.wav", "clips/b.wav"]


@pytest.mark.slow
@pytest.mark.ray
def test_real_data_and_a_real_model(person: Person, default_sweep: Path) -> None:
    """The LA commands, on a generated tree of that layout and an encoder saved by transformers."""
    from plastsearch.models.build import build, save_pretrained
    from plastsearch.synth.corpus import write_corpus

    write_corpus(person.home / "corpus", layout="la", train=32, dev=24, eval_=24)
    (person.home / "LA").symlink_to(person.home / "corpus" / "LA")
    save_pretrained(build("wav2vec2", "tiny", seed=0), person.home / "encoder")
    small = [
        *SMALL,
        "--set",
        "base.data.length_samples=16000",
        "--set",
        "base.train.batch_size=8",
        "--set",
        "controls=[]",
    ]
    for command in commands():
        if "/data/LA" not in command:
            continue
        more = [*small, "--set", "base.train.epochs=null", "--out", str(person.out)] if " sweep " in command else []
        done = person.types(command, *more)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_noise_is_measured_beforehand(person: Person) -> None:
    """The command of the README, on the smallest space and few runs."""
    command = next(line for line in commands() if line.startswith("plastsearch noise "))
    small = ["-k", "3", "--seeds", "2", "--executor", "inline", "--out", str(person.out), "--quiet"]
    small += ["--set", "base.train.steps=6", "--set", "base.data.clips=32"]
    done = person.types(command.replace("w2v_layers", "smoke"), *small)
    assert done.returncode == 0, done.stderr
    assert "How noisy is this search?" in done.stdout
    assert "dev_eer_smooth" in done.stdout
    again = person.types("plastsearch noise", str(person.out / "smoke-noise"), "--json")
    assert {one["metric"] for one in json.loads(again.stdout)["metrics"]} >= {"dev_eer", "dev_cllr", "train_loss"}


@pytest.mark.slow
def test_commands_that_look_ahead(person: Person) -> None:
    """Checking, listing sites, a dry run, a single trial, and manifests, which here no cluster takes."""
    for line in commands():
        command = line.split(" && ")[0].replace("--out w2v-k8s", f"--out {person.out / 'w2v-k8s'}")
        words = command.split()
        if words[0] != "plastsearch" or words[1] in ("ui", "report", *IN_USE) or "/data/LA" in command:
            continue
        if words[:3] == ["plastsearch", "k8s", "watch"] or words[1] == "noise":
            continue
        more = ["--set", "train.steps=6", "--out", str(person.out)]
        done = person.types(command, *(more if words[1] == "trial" else []))
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"`((?:search_spaces|benchmarks|plastsearch|k8s|models|growth)/[\w./]+)`", README):
        assert (ROOT / name).exists() or (ROOT / "plastsearch" / name).exists(), name
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file(), picture


def test_the_readme_is_short() -> None:
    assert README.count("\n") < 150
