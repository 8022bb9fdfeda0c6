"""What the driver said, and what failed attempts printed, is found in the sweep's folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.execute.messages import Done, Failed, Task, message_from
from plastsearch.execute.worker_output import Output
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.sweep.driver_log import DriverLog, append
from plastsearch.tracking.events import note

pytestmark = pytest.mark.usefixtures("one_cache")
SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"
QUICK = ["--executor", "inline", "--mlflow", "none", "--no-finalists"]


@pytest.mark.slow
def test_every_session_adds_to_the_log(tmp_path):
    command = ["sweep", str(SMOKE), "--out", str(tmp_path), "--name", "it", *QUICK]
    assert CliRunner().invoke(app, [*command, "--trials", "1"], env={"POD_NAME": "a-pod"}).exit_code == 0
    log = tmp_path / "it" / "log" / "driver.log"
    first = log.read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d a session begins: plastsearch sweep .*--name it --resume", first)
    assert f"process {os.getpid()} on " in first
    assert "(Pod a-pod)" in first
    assert "ray 2." in first
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 0 \(baseline\) done: EER", first, re.MULTILINE)
    assert CliRunner().invoke(app, [*command, "--trials", "2", "--resume"]).exit_code == 0
    assert log.read_text().startswith(first)
    assert "a session goes on: " in log.read_text()[len(first) :]


@pytest.mark.slow
def test_what_ends_the_command_stands_there_too(tmp_path):
    space = Path(shutil.copy(SMOKE, tmp_path / "smoke.yaml"))
    command = [
        "sweep",
        str(space),
        "--out",
        str(tmp_path),
        "--executor",
        "inline",
        "--mlflow",
        "none",
        "--no-finalists",
    ]
    assert CliRunner().invoke(app, [*command, "--trials", "1"]).exit_code == 0
    space.write_text(space.read_text().replace("name: grnn", "name: gnrr"))
    error = CliRunner().invoke(app, [*command, "--resume"]).exception
    assert f"Error: {error}" in (tmp_path / "smoke" / "log" / "driver.log").read_text()


@pytest.mark.slow
def test_errors_go_to_the_folder_of_the_sweep_whatever_its_file_is_called(tmp_path):
    space = tmp_path / "file.yaml"
    space.write_text(SMOKE.read_text() + "\nname: called\n")
    command = ["sweep", str(space), "--out", str(tmp_path), *QUICK]
    assert CliRunner().invoke(app, [*command, "--trials", "1"]).exit_code == 0
    changed = [*command, "--resume", "--set", "base.train.steps=7"]
    error = CliRunner().invoke(app, changed).exception
    assert "holds another sweep" in str(error)
    assert f"Error: {error}" in (tmp_path / "called" / "log" / "driver.log").read_text()
    assert not (tmp_path / "file").exists()


def test_files_of_attempts_that_said_nothing_go_while_the_folder_is_ours(tmp_path):
    log = DriverLog(tmp_path, View())
    log.begin("a session begins", [])
    silent, spoken = tmp_path / "log" / "trial-1-attempt-1.txt", tmp_path / "log" / "trial-2-attempt-1.txt"
    silent.touch()
    spoken.write_text("a word")
    log.end([])
    assert (silent.exists(), spoken.exists()) == (False, True)
    silent.touch()  # another driver's by now
    log.close()
    assert silent.exists()


def test_without_a_log_nothing_is_made(tmp_path):
    append(tmp_path / "it", "a word")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("keep", "printed", "kept"), [(True, True, True), (False, True, False), (True, False, False)])
def test_an_attempts_output_is_kept_if_it_failed_and_said_anything(tmp_path, keep, printed, kept):
    path = tmp_path / "log" / "trial-1-attempt-1.txt"
    code = (
        "import os, sys, pathlib\n"
        "from plastsearch.execute.worker_output import Output\n"
        "print('before'); output = Output(pathlib.Path(sys.argv[1]))\n"
        f"{'print(1, flush=True); os.write(2, bytes([50]))' if printed else ''}\n"
        f"output.close(keep={keep}); print('after')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "before\nafter\n"
    assert path.exists() == kept
    if kept:
        assert path.read_text() == "1\n2"


def test_the_last_words_of_a_process_that_aborts_are_kept(tmp_path):
    path = tmp_path / "trial-1-attempt-1.txt"
    code = (
        "import os, sys, pathlib\n"
        "from plastsearch.execute.worker_output import Output\n"
        "Output(pathlib.Path(sys.argv[1])); os.write(2, b'CUDA assertion'); os.abort()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False)
    assert "CUDA assertion" in path.read_text()


def test_a_worker_keeps_the_output_of_attempts_that_fail(tmp_path):
    """Through the very class that Ray runs, in a process of its own, whose output it takes."""
    run = subprocess.run(
        [sys.executable, "-c", "import sys; from tests.sweep.test_driver_log import _worker; _worker(sys.argv[1])",
         str(tmp_path)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (kept,) = tmp_path.glob("*.txt")
    assert kept.name == "trial-2-attempt-1.txt"
    assert kept.read_text().startswith("said by the trial\nRuntimeError: broken")
    assert "Traceback" in kept.read_text()


def printing_trial(config, settings):
    print("said by the trial", flush=True)
    if config.neurons == 2:
        raise RuntimeError("broken")
    yield Report(stage="result", step=1, steps_total=1, metrics={"dev_eer": 1.0}, final=True)


def _worker(folder):
    from plastsearch.execute.ray_hooks import AttemptTrainable

    it = object.__new__(AttemptTrainable)
    ends = []
    for number in (1, 2, 3):
        settings = RunSettings(
            store=folder, cache=folder, device="cpu", output=Path(folder, f"trial-{number}-attempt-1.txt")
        )
        config = TrialConfig.model_validate(
            {"model": {"name": "grnn", "preset": "tiny"}, "data": {"corpus": "synthetic"}, "neurons": number}
        )
        task = Task(function="tests.sweep.test_driver_log:printing_trial", config=config, settings=settings)
        it.reset_config({"task": task.as_text()}) if ends else it.setup({"task": task.as_text()})
        ends.append(message_from(str(it.step()["message"])))
    it.cleanup()
    import ray

    assert not ray.is_initialized()  # nor did anything of it start one
    assert [type(end) for end in ends] == [Done, Failed, Done]


def test_a_folder_that_cannot_be_written_costs_the_output_only(tmp_path):
    (tmp_path / "log").write_text("a file")
    output = Output(tmp_path / "log" / "trial-1-attempt-1.txt")
    output.close(keep=True)
    assert (tmp_path / "log").read_text() == "a file"


class View:
    """What the log asks of a view."""

    records: ClassVar = {}

    def summary(self, *, over=False):
        return "all there was" if over else "all there is"


def test_a_full_disk_costs_the_log_and_is_said_once(tmp_path, capsys):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "driver.log").symlink_to("/dev/full")
    log = DriverLog(tmp_path, View())
    log.begin("a session begins", ["a node"])
    log.feed(note("a word"))
    log.end(["a node"])
    log.close()
    assert capsys.readouterr().err.count("driver.log cannot be written (No space left on device)") == 1


def test_a_log_that_cannot_be_opened_is_said_once(tmp_path, capsys):
    (tmp_path / "log").write_text("a file where the folder should be")
    log = DriverLog(tmp_path, View())
    log.begin("a session begins", [])
    log.feed(note("a word"))
    log.close()
    assert capsys.readouterr().err.count("driver.log cannot be written (") == 1
    append(tmp_path, "a word")
