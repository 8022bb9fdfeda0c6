"""optuna-dashboard opens a sweep's Optuna journal: its trials, front, constraints and attributes are ours."""

import json
import threading
import urllib.request
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from plastsearch.search.optuna_log import FILE, NUMBER
from plastsearch.search.study import open_study
from plastsearch.tracking.ranking import ranking_of
from tests.search.test_study import go, record, spec

dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: plastsearch[dashboard]")
LIMIT = "params_total <= 1.05 * baseline"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Nothing."""


@contextmanager
def opened(path):
    """The real application on a journal file, opened as `optuna-dashboard optuna.log` opens it; asks for JSON."""
    from optuna_dashboard._storage_url import get_storage

    with make_server("127.0.0.1", 0, dashboard.wsgi(get_storage(str(path))), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def ask(route):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{route}", timeout=30) as answer:
                return json.loads(answer.read())

        yield ask
        server.shutdown()
        thread.join()


def test_front_constraints_and_attributes_are_those_of_our_trials(tmp_path):
    asked = spec(constraints=[LIMIT])
    study = open_study(asked, tmp_path, [])
    records = go(study, 14)
    proposal = study.ask(14)  # one that failed, and so has no values
    failed = record(14, proposal, state="failed")
    failed.reason = "loss became NaN"
    study.tell(failed)
    with opened(tmp_path / FILE) as ask:
        (summary,) = ask("/api/studies")["study_summaries"]
        found = ask(f"/api/studies/{summary['study_id']}?after=0")
    assert summary["study_name"] == "s"
    assert [one.lower() for one in found["directions"]] == ["minimize"] * 3
    assert found["objective_names"] == ["dev_eer", "backward_ratio", "params_total"]
    trials = {attributes(one)[NUMBER]: one for one in found["trials"]}
    assert sorted(map(int, trials)) == list(range(15))
    for one in records:
        shown = trials[str(one.number)]
        assert shown["state"] == "Complete"
        assert shown["values"] == [one.metrics[name] for name in found["objective_names"]]
        assert shown["constraints"] == [pytest.approx(one.metrics["params_total"] / 1.05e5 - 1)]
        assert attributes(shown)["id"].strip('"') == one.id
    assert trials["14"]["state"] == "Fail"
    assert "loss became NaN" in str(attributes(trials["14"]))
    # Its list of the best is without regard to limits, which it shows by colour; ours is of those within them.
    without = ranking_of({**asked.plain(), "constraints": []}, records)
    best = {int(attributes(one)[NUMBER]): one["constraints"][0] for one in found["best_trials"]}
    assert best.keys() == {one.number for one in without.front(records)}
    front = {one.number for one in ranking_of(asked.plain(), records).front(records)}
    # A limit in multiples of the baseline waits for one here: with the trials' own word for its size.
    inside = {number for number, over in best.items() if over <= 0}
    assert inside
    assert inside < best.keys()
    assert inside <= front


def attributes(trial):
    return {one["key"]: one["value"] for one in trial["user_attrs"]}
