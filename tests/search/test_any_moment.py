"""A sweep that is resumed, wherever it stopped, ends with exactly the runs of one that nobody disturbed."""

import itertools

from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.journal import FILE, read, trials
from tests.search.session_process import session

KEPT = ("sweep", "session", "propose", "start", "end", "finish")  # after which a driver may be gone


def runs(outcome):
    """What was run and what came of it, whatever the attempts."""
    records = trials(read(outcome.folder)).values()
    return [(r.number, r.role, r.control, r.extra, r.state, r.id, r.metrics) for r in records]


def test_a_resume_at_any_event_ends_with_the_same_runs(tmp_path):
    whole = session(tmp_path / "whole", "search.trials=4")
    expected, lines = runs(whole), (whole.folder / FILE).read_bytes().splitlines(keepends=True)
    assert [role for _, role, *_ in expected].count("finalist") == 6
    kinds = [event["event"] for event in read(whole.folder)]
    moments = [at for at, kind in enumerate(kinds, 1) if kind in KEPT]
    moments += [at for at, pair in enumerate(itertools.pairwise(kinds), 2) if pair == ("start", "report")]
    for at in sorted(moments):
        folder = tmp_path / str(at) / "fake"
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(b"".join(lines[:at]))
        assert runs(session(folder.parent, "search.trials=4", resume=True)) == expected, f"stopped after event {at}"


def test_a_finished_sweep_stays_as_it_is_however_often_it_is_resumed(tmp_path):
    expected = runs(session(tmp_path, "search.trials=4"))
    for _ in range(3):
        assert runs(session(tmp_path, "search.trials=4", resume=True)) == expected


def test_controls_are_run_again_for_another_winner(tmp_path):
    """And those of the old one are kept, beside it."""
    before = trials(read(session(tmp_path, "search.trials=1", finalists=False).folder))
    after = trials(read(session(tmp_path, "search.trials=6", finalists=False, resume=True).folder))
    assert list(after)[: len(before)] == list(before)
    first, best = (_winner(records) for records in (before, after))
    assert first != best
    for name in ("lora", "random"):
        assert [r.extra["of"] for r in after.values() if r.control == name] == [first, best]
    lora = [TrialConfig.model_validate(r.config) for r in after.values() if r.control == "lora"]
    assert lora[-1].growth() == TrialConfig.model_validate(after[best].config).growth()
    again = session(tmp_path, "search.trials=6", finalists=False, resume=True)
    assert list(trials(read(again.folder))) == list(after)


def _winner(records):
    search = [r for r in records.values() if r.role == "search"]
    return min(search, key=lambda r: r.metrics["dev_eer"]).number
