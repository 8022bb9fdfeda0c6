"""`plastsearch ui` prints the address of the very page with the figure, serves it, and leaves no process behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing

import pytest

from plastsearch.cli.ui import HOST, _end, _free, _server
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.mlflow_tracker import Place
from tests.made_sweep import make_sweep


def test_a_port_in_use_is_not_taken():
    with closing(socket.socket()) as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert _free(port) != port
    assert _free(0) > 0


def test_ending_a_server_ends_its_whole_group():
    child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
    code = f"import subprocess, sys, time; subprocess.Popen({child}); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    group = process.pid
    time.sleep(0.5)
    _end(process)
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "mlflow").mkdir()
    place = Place("nonsense://x", "1", "r")
    with (
        pytest.raises(PlastsearchError, match=r"ended at once .*server\.log"),
        _server(place, tmp_path, f"http://{HOST}:{_free(0)}"),
    ):
        pass


@pytest.mark.slow
def test_the_figure_is_served_and_ctrl_c_leaves_nothing(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers")
    command = [sys.executable, "-m", "plastsearch.cli.main", "ui", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "ended without an address"
            text += line
        found = json.loads(text)
        base, _, route = found["figure"].partition("/#/experiments/")
        experiment, _, rest = route.partition("/runs/")
        run = rest.partition("/artifacts/")[0]
        assert route.startswith(f"{experiment}/runs/{run}/artifacts/pareto/pareto.html?workflowType=machine_learning")
        with urllib.request.urlopen(
            f"{base}/get-artifact?path=pareto%2Fpareto.html&run_uuid={run}", timeout=30
        ) as page:
            assert b"Plotly.newPlot" in page.read()
        children = {int(pid) for pid in _descendants(process.pid)}
        assert children
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert not [pid for pid in children if _lives(pid)]
    finally:
        if process.poll() is None:
            process.terminate()
        process.stdout.close()
        process.wait(timeout=30)


def _descendants(pid):
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
