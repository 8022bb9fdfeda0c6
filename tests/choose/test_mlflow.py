"""The page among a real MLflow's artifacts: in its frame, with links to that server's own runs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from plastsearch.choose.page import FILE
from plastsearch.tracking.mlflow_links import Links, keep_links, read_links
from tests.browser import Browser
from tests.choose.conftest import data_of
from tests.made_sweep import make_sweep

LINK = "[...document.querySelectorAll('.commands pre')].pop().textContent"


def test_links_are_kept_beside_the_journal(tmp_path):
    assert read_links(tmp_path) is None
    links = Links(server="", experiment="1", parent="p", runs={3: "r"})
    keep_links(tmp_path, links)
    assert read_links(tmp_path) == links
    (tmp_path / "mlflow_runs.json").write_text('{"version": 2}')  # of a later program
    assert read_links(tmp_path) is None


@pytest.mark.slow
@pytest.mark.browser
def test_mlflow_shows_the_page_and_it_finds_its_server(tmp_path, screenshots):
    folder = make_sweep(tmp_path / "w2v_layers", search=8)
    command = [sys.executable, "-m", "plastsearch.cli.main", "ui", str(folder), "--port", "0", "--json"]
    with Browser(tmp_path, 1500, 1000) as browser:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            text = ""
            while not text.rstrip().endswith("}"):
                line = process.stdout.readline()
                assert line, "ended without an address"
                text += line
            address = json.loads(text)["choose"]
            browser.resize(1500, 1000)
            browser.open(address)
            end = time.monotonic() + 60
            while not browser.framed() or not browser.within("document.documentElement.dataset.ready === 'yes'"):
                assert time.monotonic() < end
                time.sleep(0.3)
            browser.picture(screenshots / "choose-mlflow.png", whole=False)
            links = read_links(folder)
            winner = data_of((folder / "report" / FILE).read_text())["winner"]
            server = address.partition("/?key=")[0]
            assert browser.within(LINK) == f"{server}/#/experiments/{links.experiment}/runs/{links.runs[winner]}"
            assert browser.within("window.origin") == "null"
            assert not [url for url in browser.requests if url.startswith("http") and not url.startswith(server)]
            assert not [
                error for error in browser.errors if "ajax-api" not in error
            ]  # of MLflow's own, some are missing
        finally:
            os.kill(process.pid, signal.SIGINT)
            process.wait(timeout=30)
            process.stdout.close()
