"""Alerts that fire when they should and at no other time, a monitor that finds the Pods, figures that exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plastsearch.execute.plain_metrics import PlainMeters
from plastsearch.spec.methods import Runs
from plastsearch.sweep.metrics import Exporter
from plastsearch.sweep.view import SweepView
from plastsearch.tracking.events import Opened
from plastsearch.tracking.journal import read
from plastsearch.tracking.ranking import ranking_of
from plastsearch.tracking.records import trials
from tests.made_sweep import make_sweep
from tests.rendering import K8S, SWEEP, groups, of_kind, one, render, selects

COMPONENT = K8S / "components" / "monitoring"
OF_RAY = {"ray_node_gpus_utilization"}
LABELS = 'namespace="n", sweep="s"'


def rules() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]
    return made


def promtool(*arguments: str, folder: Path) -> str:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed, which evaluates alert rules: it comes with Prometheus")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules()))
    done = subprocess.run([tool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_can_be_read(tmp_path: Path) -> None:
    assert f"{len(rules()['groups'][0]['rules'])} rules found" in promtool(
        "check", "rules", "rules.yaml", folder=tmp_path
    )


def series(**values: str) -> list[dict[str, str]]:
    """Figures of the sweep `s`, a sample a minute."""
    told = []
    for name, samples in values.items():
        figure, _, status = name.partition("__")
        labels = f'{LABELS}, status="{status}"' if status else LABELS
        told.append({"series": f"plastsearch_{figure}{{{labels}}}", "values": samples})
    return told


HEALTHY = {
    "slots": "8x400",
    "trials_running": "8x400",
    "last_trial_ended_seconds": "0+60x400",  # one a minute
    "trials_ended_total__done": "0+1x400",
    "trials_ended_total__failed": "0x400",
    "tracker_lag_events": "3x400",
    "store_bytes": "50x400",
    "store_limit_bytes": "100x400",
}
CASES: dict[str, tuple[dict[str, str], dict[str, int | None]]] = {
    # what differs from a healthy sweep → alert and the minute by which it fires; None: it never does
    "healthy": ({}, {}),
    "hung": ({"last_trial_ended_seconds": "0+60x20 1200x380"}, {"PlastsearchNoTrialEnded": 90}),
    "slow, a trial in 50 minutes": (
        {"last_trial_ended_seconds": " ".join(f"{3000 * i}x49" for i in range(8))},
        {"PlastsearchNoTrialEnded": None},
    ),
    "never a trial": ({"last_trial_ended_seconds": "_x400"}, {"PlastsearchNoTrialEnded": 61}),
    "ended": (
        {"slots": "8x30", "trials_running": "8x30", "last_trial_ended_seconds": "0+60x30"},
        {"PlastsearchNoTrialEnded": None},
    ),
    "failing": ({"trials_ended_total__failed": "0x60 0+1x340"}, {"PlastsearchTrialsFail": 75}),
    "two failures": ({"trials_ended_total__failed": "0x60 2x340"}, {"PlastsearchTrialsFail": None}),
    "MLflow away": ({"tracker_lag_events": "3x60 0+20x340"}, {"PlastsearchTrackerLags": 110}),
    "MLflow away for a moment": ({"tracker_lag_events": "3x60 500x10 3x330"}, {"PlastsearchTrackerLags": None}),
    "full": ({"store_bytes": "50x60 95x340"}, {"PlastsearchStoreNearlyFull": 75}),
    "no limit": ({"store_limit_bytes": "0x400"}, {"PlastsearchStoreNearlyFull": None}),
}


@pytest.mark.parametrize("case", CASES)
def test_alerts_fire_when_they_should(case: str, tmp_path: Path) -> None:
    changes, expected = CASES[case]
    told = {name: samples for name, samples in {**HEALTHY, **changes}.items() if samples != "_x400"}
    checks = []
    for rule in rules()["groups"][0]["rules"]:
        name = rule["alert"]
        by = expected.get(name)
        if by is None:  # neither early, nor later
            checks += [(minute, name, False) for minute in range(0, 400, 7)]
        else:
            checks += [(by, name, True), (5, name, False)]
    tests = [
        {
            "interval": "1m",
            "input_series": series(**told),
            "promql_expr_test": [],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": _expected(name) if fires else []}
                for minute, name, fires in checks
            ],
        }
    ]
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    tool_input = tmp_path / "tests.yaml"
    tool_input.write_text(yaml.safe_dump(whole))
    promtool("test", "rules", "tests.yaml", folder=tmp_path)


def _expected(name: str) -> list[dict[str, Any]]:
    (rule,) = [rule for rule in rules()["groups"][0]["rules"] if rule["alert"] == name]
    values = {
        "PlastsearchTrialsFail": "14", "PlastsearchTrackerLags": "680", "PlastsearchStoreNearlyFull": "95%",
    }  # fmt: skip
    texts = {}
    for key, text in rule["annotations"].items():
        text = text.replace("{{ $labels.sweep }}", "s").replace("{{ $labels.namespace }}", "n")
        texts[key] = re.sub(r"{{ \$value[^}]*}}", values.get(name, ""), text)
    labels = {"namespace": "n", "sweep": "s", "severity": "warning"}
    return [{"exp_labels": labels, "exp_annotations": texts}]


def queries() -> list[str]:
    board = json.loads((COMPONENT / "plastsearch.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [entry["definition"] for entry in board["templating"]["list"] if "definition" in entry]
    return asked + [rule["expr"] for rule in rules()["groups"][0]["rules"]]


def exported(tmp_path: Path) -> set[str]:
    """The names that a driver really tells, of a sweep with a front, a limit of its store and drawn figures."""
    events = read(make_sweep(tmp_path / "night"))
    records = trials(events)
    (opened,) = [event for event in events if isinstance(event, Opened)]
    view = SweepView(records, ranking_of(opened.spec, records.values()), Runs(24, 0, 0), slots=2)
    view.drawn_with({"gain_likely": 0.2, "gain_low": 0.1, "gain_high": 0.3})
    with PlainMeters(0) as page:
        Exporter(page, "night", view, tmp_path / "store", 2.5, print, cache=tmp_path).close()
        return set(re.findall(r"^# TYPE (\S+)", page.text(), re.MULTILINE))


def test_only_figures_that_a_sweep_exports_are_asked_for(tmp_path: Path) -> None:
    used = {name for query in queries() for name in re.findall(r"\b(?:ray_|plastsearch_)\w+", query)}
    used -= {"ray_io_cluster", "ray_io_group", *OF_RAY}
    told = exported(tmp_path)
    assert used <= told
    for name in ("trials", "front_size", "hypervolume", "gpu_seconds_total", "gpu_seconds_saved_total",
                 "tracker_lag_events", "store_bytes", "cache_bytes"):  # fmt: skip
        assert f"plastsearch_{name}" in used, name


def test_every_panel_asks_in_the_language_of_prometheus(tmp_path: Path) -> None:
    board = json.loads((COMPONENT / "plastsearch.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(asked)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": named}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", "panels.yaml", folder=tmp_path)


def test_the_dashboard_has_the_shape_that_grafana_reads() -> None:
    board = json.loads((COMPONENT / "plastsearch.json").read_text())
    assert board["title"]
    assert board["schemaVersion"] >= 30
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in board["panels"]:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) >= 1
    for rule in rules()["groups"][0]["rules"]:
        assert {"alert", "expr", "labels", "annotations"} == rule.keys() - {"for"}
        assert re.fullmatch(r"[0-9]+[smh]", rule.get("for", "0s"))


def test_figures_of_a_cluster_get_the_name_that_the_dashboard_knows() -> None:
    (end,) = yaml.safe_load((COMPONENT / "pod-monitor.yaml").read_text())["spec"]["podMetricsEndpoints"]
    (rule,) = end["metricRelabelings"]
    found = re.fullmatch(rule["regex"], "ray_plastsearch_slots")
    assert found is not None
    assert rule["replacement"].replace("$1", found[1]) == "plastsearch_slots"
    assert re.fullmatch(rule["regex"], "ray_node_gpus_utilization") is None


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((COMPONENT / "plastsearch.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_commands_that_alerts_name_exist() -> None:
    from plastsearch.cli.main import app

    texts = " ".join(text for rule in rules()["groups"][0]["rules"] for text in rule["annotations"].values())
    named = set(re.findall(r"`plastsearch (\w+)", texts))
    assert named
    assert named <= {command.name or "" for command in app.registered_commands}


def test_the_monitor_finds_every_ray_pod(scratch: Callable[..., Path]) -> None:
    documents = render(scratch(resources=["."], components=["components/monitoring"]))
    spec = one(documents, "PodMonitor")["spec"]
    for group in groups(one(documents, "RayJob")):
        labels = group["template"]["metadata"]["labels"]
        assert SWEEP in labels
        assert selects(spec["selector"], labels)
    others = [d for d in of_kind(documents, "Deployment") if SWEEP in d["spec"]["template"]["metadata"]["labels"]]
    assert others == []
    assert [end["port"] for end in spec["podMetricsEndpoints"]] == ["metrics"]
