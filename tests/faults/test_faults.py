"""What breaks on a cluster, for real: machines with networks of their own, of which one fails while a sweep runs.

Each scenario stands in broken_cluster.py and is run in namespaces that end with it. In all of them the sweep is done at
the end, and every trial has ended exactly once.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from tests.faults.nodes import NAMESPACES

NEEDED = ("unshare", "nsenter", "ip", "mount")


def _possible() -> bool:
    if any(shutil.which(tool) is None for tool in NEEDED):
        return False
    words = [*NAMESPACES, "ip", "link", "add", "br0", "type", "bridge"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not _possible(), reason="needs the right to make network namespaces, and iproute2"),
]


def run(scenario: str) -> dict[str, Any]:
    """What became of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("RAY_AUTH_MODE", None)
    with tempfile.TemporaryDirectory(prefix="ft") as folder:  # a short path: sockets lie below
        words = [*NAMESPACES, sys.executable, "-m", "tests.faults.broken_cluster", folder, scenario]
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=580, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    print(scenario, {key: value for key, value in found.items() if key != "error"})
    assert (found["exit"], found.get("outcome")) == (0, "done"), found
    assert found["once"], found
    assert set(found["states"]) == {"done"} | (set(found["states"]) & {"reused"}), found
    return found


def reasons(found: dict[str, Any]) -> str:
    """Why attempts were lost."""
    return "; ".join(str(reason) for _, reason, *_ in found["retries"])


@pytest.mark.slow
def test_a_worker_process_that_is_killed_costs_one_attempt() -> None:
    found = run("worker_killed")
    assert [reason for _, reason, *_ in found["retries"]] == ["its worker process died"]


@pytest.mark.slow
def test_a_machine_without_power_costs_what_ran_on_it() -> None:
    found = run("node_killed")
    assert "its node" in reasons(found)


@pytest.mark.slow
def test_a_machine_that_comes_late_gets_work() -> None:
    found = run("node_late")
    assert "late" in found["nodes"]
    assert found["retries"] == []


@pytest.mark.slow
def test_behind_a_cut_link_no_trial_is_waited_for_beyond_its_limit() -> None:
    found = run("partition")
    assert found["again_s"] < 40 + 45, found  # the limit of a trial, and what a worker takes to start elsewhere


@pytest.mark.slow
def test_a_short_cut_is_survived() -> None:
    assert run("partition_that_heals")["retries"] == []


@pytest.mark.slow
def test_a_spot_notice_gives_time_for_a_checkpoint() -> None:
    found = run("spot")
    assert max(max(began) for began in found["began_at"]) > 0, found  # the second attempt did not begin at nothing
    ((_, reason, failure, lost),) = found["retries"]
    assert (failure, lost) == (False, True), reason  # however often nodes are taken away, no trial fails by that


@pytest.mark.slow
def test_clocks_that_differ_by_minutes_change_nothing() -> None:
    found = run("skew")
    assert "its worker process died" in reasons(found)


@pytest.mark.slow
def test_a_driver_on_a_machine_of_its_own_is_succeeded_by_another() -> None:
    found = run("driver_elsewhere")
    assert found["resumed_s"] < 60, found
    assert "desk" in found["said"], found


@pytest.mark.slow
def test_a_head_that_starts_again_is_driven_again() -> None:
    found = run("head_restarted")
    assert found["resumed_s"] < 120, found
    assert found["workers_at_resume"] == 0, found


@pytest.mark.slow
def test_another_cluster_goes_on_in_the_same_folder() -> None:
    found = run("new_cluster")
    assert {"head2", "worker3"} & set(found["nodes"]), found


@pytest.mark.slow
def test_of_two_drivers_at_once_the_second_waits_and_finds_nothing_to_do() -> None:
    found = run("two_attempts")
    status, said = found["second"]
    assert status == 0, found
    assert "host head" in said, found
