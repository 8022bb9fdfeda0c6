"""Who is told of a sweep by `--notify`, what they are told, and that a deaf or slow one costs the sweep nothing."""

import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plastsearch.errors import PlastsearchError
from plastsearch.execute.inline import InlineExecutor
from plastsearch.spec.methods import Runs
from plastsearch.sweep import notify
from plastsearch.sweep.notify import Notifier, target, typed
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.events import Finished, SessionBegun
from plastsearch.tracking.ranking import Ranking
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.fake_trials import Dice


@contextmanager
def webhook(statuses=(), wait_s=0.0):
    """A real server: the messages it got, and its address; answers with these statuses, then with 200."""
    got, left = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(wait_s)
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(left.pop(0) if left else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield got, f"http://127.0.0.1:{server.server_port}/services/T0/secret"
    finally:
        server.shutdown()
        server.server_close()


def swept(rig, who, *, finished=True, pause_s=0.0, **more):
    """A sweep of seven fake trials, of which one fails, with a listener; what was said, seconds of closing."""
    it = rig(rng=Dice(orders={2: "error"}), **more)
    sweep = it.open()
    said = []
    view = SweepView(sweep.records, Ranking(OBJECTIVES), Runs(6, 1, 0))
    told = Notifier(who, "night", it.folder, view, said.append, pause_s=pause_s)
    it.feed = told.feed
    told.feed(SessionBegun(session="a", host="here"))
    InlineExecutor().run(sweep)
    it.journal.close()
    if finished:
        told.feed(Finished(status="done"))
    began = time.monotonic()
    lost = told.close()
    return view, [event.text for event in said], lost, time.monotonic() - began


def test_a_webhook_hears_of_begin_front_failure_and_end(rig):
    with webhook() as (got, address):
        view, said, lost, _ = swept(rig, target(address))
    assert said == []
    assert lost is None
    by = {kind: [one for one in got if one["event"] == kind] for kind in ("begin", "front", "failed", "end")}
    assert by["begin"][0]["text"] == "night begins on here: 0/6 trials · 0/1 controls"
    assert by["failed"][0]["text"] == "night: trial 2 failed: this configuration is poisonous"
    assert by["failed"][0]["trials"] == [2]
    assert by["end"][0]["text"].startswith("night has ended: done; 6/6 trials")
    assert len(by["end"]) == 1
    assert got[-1]["event"] == "end"
    joined = {number for one in by["front"] for number in one["trials"]}
    assert {record.number for record in view.front() if record.role == "search"} <= joined
    assert all(one["content"] == one["text"] for one in got)
    assert got[-1]["best"] == view.front()[0].metrics


def test_news_of_a_kind_that_come_fast_are_one_message(rig):
    with webhook() as (got, address):
        swept(rig, target(address), pause_s=60.0)
    kinds = [one["event"] for one in got]
    assert kinds.count("front") <= 2  # one at once, and what came after it at the end
    assert kinds[-1] == "end"


def test_an_end_without_a_last_word_is_told(rig):
    with webhook() as (got, address):
        swept(rig, target(address), finished=False)
    assert "ended without a last word" in got[-1]["text"]


def test_a_server_that_stumbles_is_tried_again_and_a_deaf_one_is_said_once(rig, monkeypatch):
    monkeypatch.setattr(notify.time, "sleep", lambda s: None)
    with webhook(statuses=[500, 503]) as (got, address):
        _, said, _, _ = swept(rig, target(address))
    assert said == []
    assert [one["event"] for one in got][:3] == ["begin"] * 3
    with webhook(statuses=[404] * 50) as (got, address):
        _, said, _, _ = swept(rig, target(address))
    assert said == ["--notify http://127.0.0.1: not delivered (Not Found); the sweep goes on"]
    assert "secret" not in said[0]


def test_a_target_that_hangs_is_left_behind(rig, monkeypatch):
    monkeypatch.setattr(notify, "_PATIENCE_S", 0.3)
    with webhook(wait_s=1.5) as (_, address):
        _, _, lost, seconds = swept(rig, target(address))
        assert seconds < 1.4
    assert lost is None or lost == "--notify http://127.0.0.1: it did not take the last message"


def test_a_command_gets_the_text_and_the_facts(rig, tmp_path):
    script = tmp_path / "tell me.py"
    script.write_text(
        "import json, sys, pathlib\n"
        "facts = json.load(sys.stdin)\n"
        "assert facts['text'] == sys.argv[-1]\n"
        "with pathlib.Path(sys.argv[1]).open('a') as file:\n"
        "    file.write(facts['event'] + '\\n')\n"
    )
    heard = tmp_path / "heard"
    _, said, _, _ = swept(rig, target(f"{sys.executable} '{script}' {heard}"))
    assert said == []
    kinds = heard.read_text().split()
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert set(kinds) == {"begin", "front", "failed", "end"}


def test_a_command_that_fails_is_said_with_its_reason(rig):
    _, said, _, _ = swept(rig, target(f"{sys.executable} -c 'raise SystemExit(\"no desk\")'"))
    assert said == [f"--notify {sys.executable}: not delivered (exit status 1: no desk); the sweep goes on"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty; give the address"),
        ("no-such-program --now", "'no-such-program' is no program that can be found, and no address"),
        ("sh 'open", "no command (No closing quotation)"),
        ("ftp://host/secret", "--notify ftp://…: no address that can be posted to"),
        ("https://", "--notify https://…: no address"),
        ("https://host:99999999/secret", "--notify https://…: no address"),
        ("https://ho st/secret", "--notify https://…: no address"),
        ("env:PLASTSEARCH_NOBODY", "the environment variable PLASTSEARCH_NOBODY is not set"),
    ],
)
def test_what_cannot_be_reached_is_refused_at_once(text, words):
    with pytest.raises(PlastsearchError) as caught:
        target(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_address_is_a_secret_and_a_command_is_not(monkeypatch):
    assert typed("https://hooks.example.org/T0/B0/secret") == "env:PLASTSEARCH_NOTIFY"
    assert typed("env:MINE") == "env:MINE"
    assert typed("notify-send plastsearch") == "notify-send plastsearch"
    monkeypatch.setenv("MINE", "https://hooks.example.org/T0/B0/secret")
    assert target("env:MINE").name == "https://hooks.example.org"
