"""What is seen while a sweep runs: lines without colour into a pipe, JSON lines for machines, a table on a terminal."""

import io
import json
import time

from rich.console import Console

from plastsearch.search.budget import Limits
from plastsearch.search.display import JsonLines, Lines, Live, View
from plastsearch.search.inline import InlineExecutor
from plastsearch.search.standing import Standing
from tests.search.conftest import AIMS
from tests.search.fake_trials import Dice


def watched(rig, make, **more):
    """A sweep with a display, which sees the sweep's own records."""
    it = rig(**more)
    sweep = it.open()
    view = View(sweep.records, Standing(AIMS), it.limits.trials, began=time.time())
    display = make(view)
    it.feed = display.feed
    InlineExecutor().run(sweep)
    it.journal.close()
    return display, view


def test_a_pipe_gets_one_plain_line_per_event(rig):
    stream = io.StringIO()
    orders = {2: "error"}
    display, _ = watched(rig, lambda view: Lines(view, stream), dice=Dice(orders=orders), limits=Limits(trials=3))
    display.close()
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert lines[0].endswith("0 (baseline) started: train only")
    assert any(line.endswith("2 failed: this configuration is poisonous · 2/3 trials") for line in lines)
    assert sum(" done: EER " in line for line in lines) == 3
    assert lines[-1].startswith("3 done 0 running 1 failed · hypervolume ")
    assert "left about 0 s" in lines[-1]


def test_json_lines_are_the_journal_s_events(rig):
    stream = io.StringIO()
    watched(rig, lambda _: JsonLines(stream), limits=Limits(trials=2))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events if e["trial"] == 1] == ["propose", "start", *["report"] * 4, "end"]


def test_a_terminal_shows_running_trials_the_front_and_a_footer(rig):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=150)
    display, view = watched(rig, lambda view: Live(view, console), limits=Limits(trials=8))
    first = next(iter(view.records.values()))
    first.state, first.stage, first.step, first.steps_total = "running", "retrain", 10, 40
    first.started_at = time.time() - 75
    shot = io.StringIO()
    Console(file=shot, width=150).print(display._draw())
    display.close()
    text = shot.getvalue()
    assert "0 (baseline)" in text
    assert "10/40" in text
    assert "1 min 15 s" in text
    assert "front (" in text
    assert "8 done 1 running" in text
