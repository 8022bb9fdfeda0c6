"""What is seen while a sweep runs: lines without colour into a pipe, JSON lines for machines, a table on a terminal."""

import io
import json
import time

import pytest
from rich.console import Console

from plastsearch.execute.inline import InlineExecutor
from plastsearch.execute.own_figures import GPU_USE
from plastsearch.spec.methods import Runs
from plastsearch.sweep.budget import Limits
from plastsearch.sweep.display import JsonLines, Lines
from plastsearch.sweep.live import Live
from plastsearch.sweep.view import SweepView
from plastsearch.sweep.waiting import FirstStages
from plastsearch.tracking.events import Reported, Retried, Started, note
from plastsearch.tracking.ranking import Ranking
from plastsearch.tracking.records import TrialRecord
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.fake_trials import Dice

STARTED = Started(trial=1, attempt=1)
WAITS = Retried(trial=1, attempt=1, reason="stage ab is busy", waits=True)


def watched(rig, make, **more):
    """A sweep with a display, which sees the sweep's own records."""
    it = rig(**more)
    sweep = it.open()
    view = SweepView(sweep.records, Ranking(OBJECTIVES), Runs(it.limits.trials, 1, 0), began=time.monotonic())
    display = make(view)
    it.feed = display.feed
    InlineExecutor().run(sweep)
    it.journal.close()
    return display, view


def test_a_pipe_gets_a_plain_line_per_start_and_end(rig):
    stream = io.StringIO()
    orders = {2: "error"}
    display, _ = watched(rig, lambda view: Lines(view, stream), rng=Dice(orders=orders), limits=Limits(trials=3))
    display.close()
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert len(lines) == 2 * 4 + 1  # reports are for the table and for machines
    assert lines[0].endswith("0 (baseline) started: train only")
    assert any(line.endswith("2 failed: this configuration is poisonous · 2/3 trials") for line in lines)
    assert sum(" done: EER " in line for line in lines) == 3
    assert lines[-1].startswith("3/3 trials · 1/1 controls · 3 done 0 running 1 failed · gain ")
    assert "left about" not in lines[-1]


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
    assert "1:15" in text
    assert "front (" in text
    assert "8 done 1 running" in text


def record(number, **more):
    return TrialRecord(number, str(number), "search", None, {}, {"method": "baseline"}, **more)


def lines_of(records, *events):
    stream, known = io.StringIO(), {one.number: one for one in records}
    first_stages = FirstStages(known, lambda record: "train")
    lines = Lines(
        SweepView(known, Ranking(OBJECTIVES), Runs(4, 0, 0), began=time.monotonic(), first_stages=first_stages), stream
    )
    for one in events:
        lines.feed(one)
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()], lines, stream


def test_waiting_is_told_in_plain_words():
    first, second = record(0, state="running", stage="train"), record(1, state="running", started_at=1.0)
    first.control = "baseline"
    found, _, _ = lines_of([first, second], STARTED, WAITS)
    assert found == [
        "1 started: train only; waits for the baseline that trial 0 trains",
        "1 waits for a stage that another trial computes",
    ]


def test_half_a_minute_without_an_end_brings_a_summary(monkeypatch):
    found, lines, stream = lines_of([record(1, state="running")], STARTED)
    assert len(found) == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    lines.tick()
    lines.tick()
    assert stream.getvalue().count("… 0/4 trials · 0 done 1 running") == 1


def test_a_note_is_told_everywhere():
    assert lines_of([], note("MLflow is down"))[0] == ["MLflow is down"]
    stream = io.StringIO()
    live = Live(SweepView({}, Ranking(OBJECTIVES), Runs(4, 0, 0)), Console(file=stream, force_terminal=True, width=100))
    live.feed(note("MLflow is down"))
    live.close()
    assert "MLflow is down" in stream.getvalue()


@pytest.mark.parametrize(("width", "size"), [(80, "94.4M"), (120, "94,371,712"), (200, "94,371,712")])
def test_a_narrow_terminal_cuts_descriptions_and_never_numbers(width, size):
    config = {"method": "plasticity", "regime": "frozen", "criterion": "entropy", "neurons": 112,
              "layers": [f"encoder.{i}.ffn" for i in range(9)]}  # fmt: skip
    metrics = {"dev_eer": 12.345, "backward_ratio": 0.512, "params_total": 94_371_712.0, "params_baseline": 1.0}
    running = TrialRecord(14, "14", "search", None, {}, config, state="running", stage="consolidate", step=3000,
                          steps_total=4000, metrics=metrics, started_at=time.time() - 3700)  # fmt: skip
    done = TrialRecord(2, "2", "search", None, {}, config, state="done", metrics=metrics)
    shot = io.StringIO()
    console = Console(file=shot, width=width, height=24)
    live = Live(SweepView({14: running, 2: done}, Ranking(OBJECTIVES), Runs(20, 0, 0), began=time.monotonic()), console)
    console.print(live._draw())
    live.close()
    lines = [line.rstrip() for line in shot.getvalue().splitlines()]
    row = next(line for line in lines if line.startswith("14 "))
    assert all(
        text in row for text in ("encoder.{0,1", "consolidate", "3000/4000", "12.35 %", "0.512", size, "1:01:40")
    )
    assert max(map(len, lines)) <= min(width, 120)


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 20), (120, 40)])
def test_the_footer_stays_in_sight(width, height):
    metrics = {"dev_eer": 12.0, "backward_ratio": 0.5, "params_total": 1e6}
    many = {n: TrialRecord(n, str(n), "search", None, {}, {"method": "baseline"}, state="running") for n in range(30)}
    for n in range(30, 60):  # each worse in one thing and better in another: all of the front
        found = {**metrics, "dev_eer": 12.0 + n, "backward_ratio": 1 - n / 100}
        many[n] = TrialRecord(n, str(n), "search", None, {}, {"method": "baseline"}, state="done", metrics=found)
    shot = io.StringIO()
    console = Console(file=shot, width=width, height=height)
    live = Live(SweepView(many, Ranking(OBJECTIVES), Runs(70, 3, 9), began=time.monotonic()), console)
    console.print(live._draw())
    live.close()
    lines = shot.getvalue().splitlines()
    assert sum("more" in line for line in lines) == 2
    assert "0/9 finalists" in shot.getvalue()
    assert len(lines) < height


def test_a_terminal_of_60_columns_reads():
    config = {"method": "plasticity", "criterion": "entropy", "neurons": 112, "layers": ["encoder.3.ffn"]}
    again = TrialRecord(115, "15", "replicate", None, {}, config, state="running", stage="consolidate", step=3000,
                        steps_total=4000, metrics={"dev_eer": 12.345}, of=102, seed=3)  # fmt: skip
    again.started_at = time.time() - 3700
    shot = io.StringIO()
    console = Console(file=shot, width=60, height=24)
    live = Live(SweepView({115: again}, Ranking(OBJECTIVES), Runs(200, 3, 12)), console)
    console.print(live._draw())
    live.close()
    lines = [line.rstrip() for line in shot.getvalue().splitlines()]
    row = next(line for line in lines if line.startswith("115 "))
    assert all(text in row for text in ("(102 again)", "encoder", "consolidate", "75%", "12.35 %", "1:01:40"))
    assert max(map(len, lines)) <= 60


def test_the_footer_says_how_far_the_mirror_lags_behind():
    class Mirror:
        lag = 12

    mirror = Mirror()
    view = SweepView({}, Ranking(OBJECTIVES), Runs(4, 0, 0), mirrors=[mirror])
    assert view.summary().endswith("MLflow 12 events behind")
    mirror.lag = 0
    assert view.summary().endswith("MLflow level")


def test_the_footer_says_how_busy_gpus_are():
    busy = [record(n, state="running") for n in range(2)]
    for one, uses in zip(busy, ([10, 100, 100, 100, 100, 100], [50]), strict=True):
        one.history += [
            Reported(trial=one.number, attempt=1, stage="train", step=1, steps_total=9, metrics={},
                     system={GPU_USE: float(use)}) for use in uses
        ]  # fmt: skip
    view = SweepView(dict(enumerate(busy)), Ranking(OBJECTIVES), Runs(4, 0, 0))
    assert " · GPUs 92 % busy · " in view.summary()  # five looks at one, one at the other
    busy[0].state = "done"
    assert " · GPUs 50 % busy · " in view.summary()
    busy[1].history.clear()
    assert "busy" not in view.summary()
