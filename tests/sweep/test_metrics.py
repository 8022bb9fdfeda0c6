"""What a sweep tells whoever watches the cluster, and that telling it can do no harm."""

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plastsearch.errors import PlastsearchError
from plastsearch.execute.inline import InlineExecutor
from plastsearch.execute.plain_metrics import PlainMeters
from plastsearch.spec.methods import Runs
from plastsearch.sweep.metrics import Exporter
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.events import Note
from tests.sweep.fake_trials import Dice


class Meters:
    """Keeps what it is told."""

    def __init__(self):
        self.found = {}

    def set(self, name, text, value, tags):
        assert text
        self.found[name.removeprefix("plastsearch_"), *sorted(tags.items())] = value

    count = set


class Behind:
    lag = 7

    def feed(self, event):
        """Never."""


def told(rig, tmp_path, meters, **more):
    """A sweep with an exporter: its records, what it said, the seconds that closing took."""
    it = rig(tmp_path.name, rng=Dice(orders={2: "error"}))
    sweep = it.open()
    view = SweepView(sweep.records, sweep._ranking, Runs(6, 0, 0), slots=3, mirrors=[Behind()])
    said = []
    store = tmp_path / "store"
    for folder, count in (("stages/one", 1000), ("scores", 70)):  # scores are not what --store-max-gb bounds
        (store / folder).mkdir(parents=True)
        (store / folder / "file").write_bytes(b"x" * count)
    exporter = Exporter(meters, "night", view, store, 2.5, said.append, every_s=0.01, **more)
    InlineExecutor().run(sweep)
    began = time.monotonic()
    assert exporter.close() is None
    it.journal.close()
    return it.records(), said, time.monotonic() - began


def test_numbers_are_those_of_the_journal(rig, tmp_path):
    meters = Meters()
    records, said, _ = told(rig, tmp_path, meters)
    sweep = ("sweep", "night")
    states = [record.state for record in records.values()]
    for state in ("done", "failed", "halted", "reused"):
        assert meters.found["trials_ended_total", ("status", state), sweep] == states.count(state)
    assert states.count("failed") == 1
    assert meters.found["trials_running", sweep] == 0
    assert meters.found["slots", sweep] == 3
    assert meters.found["last_trial_ended_seconds", sweep] == max(r.ended_at for r in records.values())
    assert meters.found["tracker_lag_events", sweep] == 7
    assert meters.found["store_bytes", sweep] == 1000
    assert meters.found["store_limit_bytes", sweep] == 2.5e9
    best = min(r.metrics["dev_eer"] for r in records.values() if r.state == "done")
    assert meters.found["best", ("metric", "dev_eer"), sweep] == best
    assert 0 < meters.found["gain", sweep] < 1
    assert not any(name[0] == "gain_low" for name in meters.found)  # no figure was drawn that could have told
    assert said == []


def test_the_interval_of_the_gain_is_the_one_last_drawn(rig, tmp_path):
    it = rig()
    sweep = it.run()
    view = SweepView(sweep.records, sweep._ranking, Runs(6, 0, 0))
    likely = {"gain_likely": 0.2, "gain_low": 0.1, "gain_high": 0.35, "hypervolume": 3.0}
    view.drawn_with({**likely, "gain": view.gain()})
    meters = Meters()
    assert Exporter(meters, "night", view, tmp_path, None, print).close() is None
    sweep_tag = ("sweep", "night")
    assert [meters.found[name, sweep_tag] for name in ("gain_likely", "gain_low", "gain_high")] == [0.2, 0.1, 0.35]
    assert f"gain {100 * view.gain():.1f} %, likely 20.0 [10.0, 35.0] · " in view.summary()
    view.drawn_with({**likely, "gain": view.gain() - 0.1})  # trials have ended since, and the front is another
    assert "likely" not in view.summary()
    view.drawn_with({"hypervolume": 3.0})  # what is drawn later may know none: the old one is not kept
    assert "likely" not in view.summary()


def test_an_exporter_that_fails_is_said_once_and_one_that_hangs_is_left_behind(rig, tmp_path, monkeypatch):
    class Broken(Meters):
        def set(self, name, text, value, tags):
            raise RuntimeError("no agent")

        count = set

    records, said, _ = told(rig, tmp_path / "a", Broken())
    assert len(records) == 7
    assert [event.text for event in said if isinstance(event, Note)] == [
        "metrics cannot be exported (RuntimeError: no agent); the sweep goes on"
    ]

    class Silent(Meters):
        def set(self, name, text, value, tags):
            threading.Event().wait(60)

        count = set

    monkeypatch.setattr("plastsearch.sweep.metrics._PATIENCE_S", 0.2)
    records, _, seconds = told(rig, tmp_path / "b", Silent())
    assert len(records) == 7
    assert seconds < 2


def test_without_a_cluster_a_page_shows_them_as_prometheus_reads_them(rig, tmp_path):
    cache = tmp_path / "cache"
    (cache / "clips").mkdir(parents=True)
    (cache / "clips" / "shard").write_bytes(b"x" * 321)
    (cache / "elsewhere").symlink_to(tmp_path)  # and what that leads to is not counted
    with PlainMeters(0) as page:
        records, said, _ = told(rig, tmp_path, page, cache=cache)
        assert page.address.startswith("http://127.0.0.1:")  # nobody else can ask
        with urllib.request.urlopen(page.address, timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(page.address.replace("/metrics", "/other"), timeout=10)
    families = {one.name: one for one in text_string_to_metric_families(text)}
    found = {(one.name, *sorted(one.labels.items())): one.value for each in families.values() for one in each.samples}
    sweep = ("sweep", "night")
    states = [record.state for record in records.values()]
    for state in ("done", "failed", "halted", "reused", "running"):
        assert found["plastsearch_trials", ("state", state), sweep] == states.count(state)
    assert found["plastsearch_front_size", sweep] >= 1
    assert found["plastsearch_hypervolume", sweep] > 0
    assert found["plastsearch_gpu_seconds_total", sweep] == sum(one.gpu_seconds for one in records.values())
    assert found["plastsearch_trial_seconds_total", sweep] == sum(one.seconds for one in records.values())
    assert found["plastsearch_tracker_lag_events", sweep] == 7
    assert found["plastsearch_cache_bytes", sweep] >= 321
    assert found["plastsearch_cache_bytes", sweep] < 1000
    assert families["plastsearch_trials_ended"].type == "counter"
    assert all(one.documentation for one in families.values())
    assert said == []


def test_names_are_quoted_and_numbers_that_are_none_are_told():
    with PlainMeters(0) as page:
        page.set("plastsearch_x", "a\nb\\c", float("nan"), {"sweep": 'my "best"\nnight\\'})
        (family,) = text_string_to_metric_families(page.text())
    (sample,) = family.samples
    assert sample.labels == {"sweep": 'my "best"\nnight\\'}
    assert sample.value != sample.value  # NaN


def test_a_port_that_is_taken_is_told_before_anything_runs():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlastsearchError, match=f"--metrics-port {port}: 127.0.0.1 cannot be listened on"):
            PlainMeters(port)
