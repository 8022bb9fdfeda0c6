"""What MLflow's pages show: figures handed over, addresses, descriptions, saved views. Does not import mlflow.

The form of a saved view is MLflow's own affair and may change: nothing but convenience depends on it.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

MODE = "workflowType=machine_learning"  # else the pages open in their mode for language models
VIEW_TAG = "mlflow.sharedViewState."
FRONT_TAG, MEMBERSHIP_TAG, RUNS_TAG = "plastsearch.front", "plastsearch.membership", "plastsearch.runs"
OF_TAG = "plastsearch.of"  # of a finalist or a run with a further seed: its trial
MARKS = (FRONT_TAG, MEMBERSHIP_TAG, RUNS_TAG)  # of a trial's run; they follow the figures, and go where these go
VIEWS = {
    "plastsearch-front": "Pareto front",
    "plastsearch-all": "All trials",
    "plastsearch-finalists": "Finalists by member",
}
_FINALISTS = "plastsearch-finalists"
EVALUATED = "eval_eer"  # what finalists alone have


@dataclass(frozen=True)
class Rendering:
    """Figures and tables of a sweep so far, for a place that can show them."""

    files: Mapping[str, Path]  # path among the artifacts → file
    page: str  # which of them is the interactive figure
    picture: str  # and which its picture
    note: str  # a few lines of Markdown
    marks: Mapping[int, Mapping[str, str]] = field(default_factory=dict)  # trial → tags, of MARKS
    means: Mapping[int, Mapping[str, float]] = field(default_factory=dict)  # trial that ran again → metrics
    tags: Mapping[str, str] = field(default_factory=dict)  # of the sweep's own run
    summary: Mapping[str, float] = field(default_factory=dict)


Renderer = Callable[[Path], Rendering]


def run_page(experiment: str, run: str) -> str:
    """A run's own page, relative to the server."""
    return f"#/experiments/{experiment}/runs/{run}?{MODE}"


def artifact_page(experiment: str, run: str, path: str) -> str:
    """A run's artifact, shown in place."""
    return f"#/experiments/{experiment}/runs/{run}/artifacts/{quote(path)}?{MODE}"


def view_page(experiment: str, key: str) -> str:
    """A saved chart view of the experiment."""
    return f"#/experiments/{experiment}/runs?{MODE}&compareRunsMode=CHART&viewStateShareKey={key}"


def experiment_note(experiment: str, run: str, page: str) -> str:
    """The line on top of the list of runs."""
    return (
        f"[Pareto figure]({artifact_page(experiment, run, page)}) · "
        + " · ".join(f"[{name}]({view_page(experiment, key)})" for key, name in VIEWS.items())
        + f" · [newest sweep]({run_page(experiment, run)})"
    )


def run_note(experiment: str, run: str, page: str, picture: str, text: str) -> str:
    """The description of the parent run: picture first."""
    # A picture and a link: an HTML artifact cannot be embedded, and fetched like the picture it would be downloaded.
    image = f"get-artifact?path={quote(picture, safe='')}&run_uuid={run}"
    links = [f"[interactive figure]({artifact_page(experiment, run, page)})"]
    links += [f"[{name} as charts]({view_page(experiment, key)})" for key, name in VIEWS.items()]
    return f"![Pareto front]({image})\n\n{' · '.join(links)}\n\n{text}"


def saved_views(sweep: str, objectives: list[tuple[str, str]], params: list[str], at_ms: int) -> dict[str, str]:
    """Experiment tags for views: front members alone, all trials, finalists grouped by the member they repeat."""
    # Not one view, for a page loads 100 runs and charts only those: sorted by one objective they would be one end of
    # the front. MLflow lists a view in its menu only in this envelope with a name.
    # Runs of a trial with further seeds, finalists too, lie under that trial; a chart of trials would show it several
    # times.
    whole = f"tags.`plastsearch.sweep` = '{sweep}'"
    of_sweep = " AND ".join(
        [whole, *(f"tags.`plastsearch.role` != '{one}'" for one in ("sweep", "replicate", "finalist"))]
    )
    # MLflow knows no "one of" for tags; without the tag a run is in no comparison with it.
    filters = {
        "plastsearch-front": f"{of_sweep} AND tags.`{FRONT_TAG}` != 'false'",
        "plastsearch-all": of_sweep,
        _FINALISTS: f"{whole} AND tags.`plastsearch.role` = 'finalist'",
    }
    return {
        VIEW_TAG + key: json.dumps(
            {"name": VIEWS[key], "createdAt": at_ms, "state": json.dumps(_state(key, found, objectives, params))}
        )
        for key, found in filters.items()
    }  # fmt: skip


def _state(key: str, search: str, objectives: list[tuple[str, str]], params: list[str]) -> dict[str, object]:
    metrics = [metric for metric, _ in objectives]
    # Of finalists the one number that nobody chose them by comes first, a mean over the seeds of each member.
    grouped = key == _FINALISTS
    metrics, best = ([EVALUATED, *metrics], "min") if grouped else (metrics, objectives[0][1])
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": OF_TAG}]}
    section = _stable_id(key, "section")
    return {
        "searchFilter": search,
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": best == "min",
        "groupBy": group if grouped else None,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in metrics] + [f"params.`{name}`" for name in params],
        "runsHiddenMode": "SHOW_ALL",  # the default hides all but ten
        "compareRunSections": [
            {"uuid": section, "name": "Objectives", "display": True, "isReordered": True, "deleted": False,
             "isGenerated": False},
            *(
                {"uuid": _stable_id(key, name), "name": name, "display": False, "isReordered": True, "deleted": False,
                 "isGenerated": True}
                for name in ("dev", "train", "Model metrics", "System metrics")
            ),
        ],
        "compareRunCharts": _charts(key, section, metrics[:2] if grouped else metrics, params),
    }  # fmt: skip


def _charts(key: str, section: str, metrics: list[str], params: list[str]) -> list[object]:
    def chart(kind: str, name: str, **more: object) -> dict[str, object]:
        return {"uuid": _stable_id(key, name), "metricSectionId": section, "type": kind, "runsCountToCompare": 100,
                "deleted": False, "isGenerated": False, **more}  # fmt: skip

    def axis(metric: str) -> dict[str, str]:
        return {"key": metric, "type": "METRIC"}

    scatters = [
        chart("SCATTER", f"{x}-{y}", xaxis=axis(x), yaxis=axis(y))
        for n, y in enumerate(metrics) for x in metrics[n + 1 :]
    ]  # fmt: skip
    parallel = chart("PARALLEL", "parallel", selectedParams=params[:4], selectedMetrics=metrics)
    return [*scatters, parallel]


def _stable_id(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "plastsearch/" + "/".join(parts)))
