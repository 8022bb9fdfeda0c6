"""Sessions: phases in order, folders and their rules, budgets, interrupts, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from plastsearch.errors import FolderTakenError, PlastsearchError, SpecError
from plastsearch.tracking.journal import Journal, read
from plastsearch.tracking.records import trials
from tests.sweep.session_process import session


def records(outcome):
    return trials(read(outcome.folder))


def test_a_session_runs_baseline_search_controls_and_finalists(tmp_path):
    outcome = session(tmp_path)
    assert (outcome.status, outcome.exit_code) == ("done", 0)
    found = records(outcome)
    kinds = [(r.role, r.control) for r in found.values()]
    assert kinds[0] == ("control", "baseline")
    assert kinds[1:7] == [("search", None)] * 6
    assert kinds[7:9] == [("control", "lora"), ("control", "random")]
    assert [role for role, _ in kinds[9:]] == ["finalist"] * 6  # two members and the baseline, two seeds
    best = found[found[7].of]
    assert found[7].config["method"] == "lora"
    assert found[7].config["layers"] == best.config["layers"]
    assert len(found[8].config["layers"]) == len(best.config["layers"])
    assert found[8].config["layers"] != best.config["layers"]
    assert {r.config["seed"] for r in list(found.values())[9:]} == {1, 2}
    assert [event.kind for event in read(outcome.folder)][:2] == ["sweep", "session"]
    assert read(outcome.folder)[-1].status == "done"


def test_finalists_and_controls_can_be_left_out(tmp_path):
    outcome = session(tmp_path, "controls=[]", finalists=False)
    assert {r.role for r in records(outcome).values()} == {"search"}


def test_a_finished_sweep_is_kept_and_a_new_one_gets_a_new_name(tmp_path):
    names = [session(tmp_path, "search.trials=1", finalists=False).folder.name for _ in range(3)]
    assert names == ["fake", "fake-2", "fake-3"]


def test_an_unfinished_sweep_is_refused_with_the_command_that_resumes_it(tmp_path):
    outcome = session(tmp_path, "search.trials=2", finalists=False)
    path = outcome.folder / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PlastsearchError, match=r"unfinished.*\n  plastsearch sweep .*fake.yaml --out .* --resume"):
        session(tmp_path, "search.trials=2", finalists=False)
    assert session(tmp_path, "search.trials=2", finalists=False, resume=True).status == "done"


def test_resuming_a_finished_sweep_with_more_trials_adds_them(tmp_path):
    before = records(session(tmp_path, "search.trials=3", finalists=False))
    after = records(session(tmp_path, "search.trials=5", finalists=False, resume=True))
    assert len(after) == len(before) + 2
    assert all(after[n] == record for n, record in before.items())


def test_controls_are_run_again_once_another_trial_is_the_best(tmp_path):
    def controls(outcome):
        return [(r.control, r.of) for r in records(outcome).values() if r.role == "control"]

    def best(outcome):
        return min((r for r in records(outcome).values() if r.role == "search"), key=lambda r: r.metrics["dev_eer"])

    first = session(tmp_path, "search.trials=1", finalists=False)
    before = best(first).number
    assert controls(first) == [("baseline", None), ("lora", before), ("random", before)]
    longer = session(tmp_path, "search.trials=8", finalists=False, resume=True)
    after = best(longer).number
    assert after != before
    expected = [("baseline", None), ("lora", before), ("random", before), ("lora", after), ("random", after)]
    assert controls(longer) == expected
    found = records(longer)
    lora = next(r for r in found.values() if r.control == "lora" and r.of == after)
    assert lora.config["layers"] == found[after].config["layers"]
    assert controls(session(tmp_path, "search.trials=8", finalists=False, resume=True)) == expected


def test_another_question_may_not_use_the_folder(tmp_path):
    session(tmp_path, "search.trials=1", finalists=False)
    with pytest.raises(SpecError, match=r"another sweep.*differs in space.neurons.high"):
        session(tmp_path, "search.trials=1", "space.neurons.high=64", finalists=False, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_two_drivers_on_one_folder(tmp_path, resume):
    with Journal(tmp_path / "fake"), pytest.raises(FolderTakenError, match="another driver") as refused:
        session(tmp_path, resume=resume)
    assert refused.value.exit_code == 75  # not a verdict on the sweep: it may be tried again


def test_shared_folders_are_no_sweeps(tmp_path):
    with pytest.raises(PlastsearchError, match="shared by all sweeps"):
        session(tmp_path, name="store")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("search.wall_s=0.000001", "wall time"),
        ("search.target_hypervolume=1", "hypervolume"),
        ("search.stagnation=2", "stagnation"),
    ],
)
def test_other_budgets_end_a_search_early(tmp_path, override, reason):
    outcome = session(tmp_path, "search.trials=60", override, finalists=False)
    assert (outcome.status, outcome.exit_code) == ("budget", 0)
    assert outcome.reason.startswith(reason)
    assert sum(r.role == "search" for r in records(outcome).values()) < 60


def start(root, *more, resume="new", seconds=0.2):
    environment = {**os.environ, "FAKE_TRIAL_S": str(seconds), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "tests.sweep.session_process", str(root), resume, *more]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(process, kind, number):
    for line in process.stdout:
        event = json.loads(line)
        if event.get("trial") == number and event["event"] == kind:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ("signals", "trial", "seconds"),
    [([signal.SIGINT], 2, 0.2), ([signal.SIGTERM], 2, 0.2), ([signal.SIGINT, signal.SIGINT], 0, 60.0)],
)
def test_an_interrupt_ends_at_130_and_the_resume_command_goes_on(tmp_path, signals, trial, seconds):
    process = start(tmp_path, "inline", "search.trials=3", seconds=seconds)
    wait_for(process, "report" if seconds < 1 else "start", trial)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.1)
    out, err = process.communicate(timeout=10)  # a second signal does not wait for a report, due in 15 s
    last = json.loads(out.splitlines()[-1])
    assert process.returncode == 130
    assert last["outcome"] == "interrupted"
    assert "stopping at the next report of what runs, or in 20 s; once more stops at once" in err
    assert last["command"].endswith("--resume --set search.trials=3 --executor inline")
    before = trials(read(tmp_path / "fake"))
    assert before[trial].state == "running"
    outcome = session(tmp_path, "search.trials=3", resume=True)
    after = trials(read(outcome.folder))
    assert (after[trial].state, after[trial].attempts) == ("done", 2)
    assert all(record.attempts == 1 for number, record in after.items() if number != trial)


def test_too_many_failures_end_at_4(tmp_path):
    outcome = session(tmp_path, "search.trials=30", trial="tests.sweep.fake_trials:nothing")
    assert (outcome.status, outcome.exit_code) == ("failures", 4)
    assert "has no attribute 'nothing'" in outcome.reason


def test_the_driver_of_an_inline_free_session_imports_no_torch():
    code = "import sys, plastsearch.sweep.session, plastsearch.search.study, plastsearch.execute.ray_tune\n"
    code += "import plastsearch.sweep.display, plastsearch.search.space\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_without_a_report_an_interrupt_still_ends_after_a_grace():
    """In one process nothing but a signal can end a trial: the driver sends it to itself."""
    code = """
import os, signal, time
from plastsearch.sweep.ending import Interrupts
class Sweep:
    interrupts = 0
    def interrupt(self):
        self.interrupts += 1
        return self.interrupts
with Interrupts() as interrupts:
    interrupts.serve(Sweep(), print, patient=False, grace_s=0.3)
    os.kill(os.getpid(), signal.SIGTERM)
    began = time.monotonic()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print(time.monotonic() - began < 5)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout.splitlines()[-1] == "True", found.stderr
