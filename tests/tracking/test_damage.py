"""Lines of a journal that cannot be used: each is named with its number and why, and left out only where it is said."""

import json

import pytest
from typer.testing import CliRunner

from plastsearch.cli.main import app
from plastsearch.errors import PlastsearchError
from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.events import Ended, Finished, Opened, Proposed, SessionBegun, Started
from plastsearch.tracking.journal import FILE, Journal, read, seconds_so_far
from plastsearch.tracking.records import trials
from plastsearch.tracking.repair import LEFT_OUT, read_around, repair

CONFIG = TrialConfig().model_dump(mode="json", by_alias=True)


@pytest.fixture
def folder(tmp_path):
    """Two trials that ended: the head, then lines 2 to 4 and 5 to 7, the last word."""
    with Journal(tmp_path) as journal:
        journal.append(Opened(version=1, name="it", spec={"objectives": [{"metric": "dev_eer"}]}))
        for trial in (0, 1):
            journal.append(Proposed(trial=trial, id="x", role="search", params={}, config=CONFIG))
            journal.append(Started(trial=trial, attempt=1))
            journal.append(Ended(trial=trial, attempt=1, state="done", metrics={"dev_eer": 4.0}, details={}))
        journal.append(Finished(status="done", seconds=1.0))
    return tmp_path


def _change(folder, number, **fields):
    """Other fields in one line; Ellipsis takes one away."""
    lines = (folder / FILE).read_text().splitlines()
    plain = {name: value for name, value in (json.loads(lines[number - 1]) | fields).items() if value is not ...}
    lines[number - 1] = json.dumps(plain)
    (folder / FILE).write_text("\n".join(lines) + "\n")


def _lines(folder, *numbers):
    """The journal made of these of its lines, in this order."""
    lines = (folder / FILE).read_text().splitlines(keepends=True)
    (folder / FILE).write_text("".join(lines[number - 1] for number in numbers))


@pytest.mark.parametrize(
    ("number", "fields", "why"),
    [
        (1, {"spec": []}, "spec"),
        (1, {"spec": {"objectives": [5]}}, "objectives.0"),
        (1, {"spec": {"halt": {"rungs": "x"}}}, "rungs"),
        (2, {"trial": "0"}, "trial"),
        (2, {"trial": -1}, "trial"),
        (2, {"config": {**CONFIG, "neurons": "many"}}, "config.neurons"),
        (2, {"params": None}, "params"),
        (2, {"role": "guest"}, "role"),
        (2, {"reuse_of": 9}, "no line before it proposes trial 9"),
        (3, {"attempt": ...}, "attempt"),
        (3, {"attempt": True}, "attempt"),
        (4, {"event": ["end"]}, "event"),
        (4, {"metrics": {"dev_eer": 1e300}}, "no measurement"),
        (4, {"metrics": {"dev_eer": float("inf")}}, "Infinity is no number of JSON"),
        (4, {"details": {"stages": [{"stage": "train"}]}}, "stages.0.key"),
        (4, {"details": {"scores": []}}, "scores"),
        (4, {"details": {"growth_plan": {"sites": 3}}}, "growth_plan"),
        (4, {"reason": "\ud800"}, "lone surrogate"),
        (4, {"at": 1e300}, "at"),
        (5, {"trial": 0}, "proposed a second time"),
        (6, {"trial": 7}, "no line before it proposes trial 7"),
        (7, {"trial": 0}, "trial 0 ended in line 4 already"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(folder, number, fields, why):
    _change(folder, number, **fields)
    with pytest.raises(PlastsearchError) as error:
        read(folder, configs=True)
    assert str(error.value).startswith(f"{folder / FILE}:{number}: a damaged line (")
    assert why in str(error.value)
    assert "journal repair" in str(error.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"event": "note", "at": 1, "text": ' + "9" * 5000 + "}", "\xff", "\x01"]
)
def test_what_is_no_json_is_named(folder, text):
    whole = (folder / FILE).read_bytes().split(b"\n")
    whole[2] = text.encode("latin-1")
    (folder / FILE).write_bytes(b"\n".join(whole))
    with pytest.raises(PlastsearchError, match=f"{FILE}:3: a damaged line"):
        read(folder)


@pytest.mark.parametrize(
    ("order", "number", "why"),
    [
        ((1, 3, 4, 5, 6, 7, 8), 2, "no line before it proposes trial 0"),
        ((1, 3, 2, 4, 5, 6, 7, 8), 2, "no line before it proposes trial 0"),
        ((1, 2, 3, 3, 4, 5, 6, 7, 8), 4, "attempt 1 of trial 0 began before"),
        ((1, 2, 3, 4, 4, 5, 6, 7, 8), 5, "trial 0 ended in line 4 already"),
        ((1, 2, 3, 4, 1, 5, 6, 7, 8), 5, "a second head"),
    ],
)
def test_lines_that_do_not_follow_one_another_are_named(folder, order, number, why):
    _lines(folder, *order)
    with pytest.raises(PlastsearchError, match=f"{FILE}:{number}: a damaged line .*{why}"):
        read(folder)


def test_a_journal_of_a_later_version_is_refused_in_a_sentence(folder):
    _change(folder, 1, version=99)
    for reader in (read, read_around, repair):
        with pytest.raises(PlastsearchError, match="of version 99, and this plastsearch reads versions up"):
            reader(folder)


def test_what_is_left_out_is_said_and_the_rest_is_there(folder):
    _change(folder, 2, config="lost")  # and with it the two lines that speak of a trial nobody knows now
    events, left_out = read_around(folder)
    assert [(one.number, one.trial) for one in left_out] == [(2, 0), (3, 0), (4, 0)]
    assert list(trials(events)) == [1]


def test_repair_keeps_what_it_takes_out_and_a_second_time_changes_nothing(folder):
    _change(folder, 7, metrics=5)
    damaged = (folder / FILE).read_bytes()
    assert [one.number for one in repair(folder)] == [7]
    assert sorted(damaged.split(b"\n")) == sorted(
        ((folder / FILE).read_bytes() + (folder / LEFT_OUT).read_bytes()).split(b"\n")
    )
    assert trials(read(folder))[1].state == "running"  # so --resume runs it again
    before = (folder / FILE).read_bytes()
    assert repair(folder) == []
    assert (folder / FILE).read_bytes() == before


def test_without_its_head_nothing_is_repaired(folder):
    _change(folder, 1, spec=7)
    before = (folder / FILE).read_bytes()
    with pytest.raises(PlastsearchError, match=f"{FILE}:1: the head of the journal"):
        repair(folder)
    assert (folder / FILE).read_bytes() == before


def test_the_command_tells_what_is_lost(folder):
    _change(folder, 7, metrics=5)
    done = CliRunner().invoke(app, ["journal", "repair", str(folder)])
    assert done.exit_code == 0, done.output
    assert "line 7 (trial 1): metrics: Input should be" in done.output
    assert LEFT_OUT in done.output
    assert "every line is sound" in CliRunner().invoke(app, ["journal", "repair", str(folder)]).output


def test_a_clock_that_is_put_back_costs_one_step():
    moments = (100.0, 110.0, 3.0, 13.0)  # set back by more than 100 s in the session
    events = [SessionBegun(at=moments[0]), *(Started(trial=0, attempt=1, at=at) for at in moments[1:])]
    assert seconds_so_far(events) == 20.0
