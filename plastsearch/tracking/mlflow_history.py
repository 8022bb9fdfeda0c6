"""Earlier sweeps as MLflow has them: runs of an experiment, back into records. Reads, and writes nothing."""

import json
import os
from collections.abc import Mapping

from plastsearch.addresses import EXPECTED, shown, without_secrets
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.mlflow_store import open_store, runs_of
from plastsearch.tracking.records import TrialRecord

PREFIX = "mlflow:"
_SQLITE = "sqlite:///"
_STATES = ("done", "failed", "halted", "reused")


def sweeps_of(source: str) -> list[tuple[str, list[TrialRecord]]]:
    """Every sweep of `mlflow:[URI#]EXPERIMENT`, by name; the URI is MLFLOW_TRACKING_URI's unless it is given."""
    uri, experiment = parts(source)
    if uri.startswith(_SQLITE) and not os.path.exists(uri.removeprefix(_SQLITE)):  # noqa: PTH110
        raise PlastsearchError(f"{source}: no such file; MLflow would make an empty one in its place")
    try:
        client = open_store(uri)
        known = client.get_experiment_by_name(experiment)
        runs = [] if known is None else runs_of(client, known.experiment_id)
    except Exception as error:  # noqa: BLE001 a server may fail in any way, in the words of any library
        said = without_secrets(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, uri)
        raise PlastsearchError(f"{source}: MLflow at {shown(uri)} cannot be read ({said})") from None
    if known is None:
        raise PlastsearchError(f"{source}: MLflow at {shown(uri)} has no experiment '{experiment}'")
    names: dict[str, str] = {}
    found: dict[str, list[TrialRecord]] = {}
    for run in runs:
        tags = run.data.tags
        sweep = tags.get("plastsearch.sweep")
        if sweep is None:
            continue
        if tags.get("plastsearch.role") == "sweep":
            names[sweep] = run.info.run_name or sweep
        else:
            record = record_of(tags, run.data.metrics)
            if record is not None:
                found.setdefault(sweep, []).append(record)
    if not found:
        raise PlastsearchError(f"{source}: no trials of plastsearch in that experiment")
    return [
        (f"{experiment}/{names.get(sweep, sweep)}", sorted(records, key=lambda one: one.number))
        for sweep, records in sorted(found.items(), key=lambda item: names.get(item[0], item[0]))
    ]


def parts(source: str) -> tuple[str, str]:
    """The address of the store and the name of the experiment."""
    text = source.removeprefix(PREFIX)
    uri, mark, experiment = text.rpartition("#")
    if not mark:
        uri = os.environ.get(EXPECTED, "")
        if not uri:
            raise PlastsearchError(
                f"{source}: which server? write mlflow:URI#EXPERIMENT, or set {EXPECTED} and write mlflow:EXPERIMENT"
            )
    if not uri or not experiment:
        raise PlastsearchError(f"{source}: write mlflow:URI#EXPERIMENT, e.g. mlflow:sqlite:///old/mlflow/mlflow.db#old")
    if mark and shown(uri) != uri:
        raise PlastsearchError(
            f"mlflow:{shown(uri)}#{experiment}: a login in a space is kept with its results; put the address into "
            f"{EXPECTED} and write mlflow:{experiment}"
        )
    return uri, experiment


def record_of(tags: Mapping[str, str], metrics: Mapping[str, float]) -> TrialRecord | None:
    """A run as the record it was made of; None for one that has not ended, or whose configuration was cut short."""
    state = tags.get("plastsearch.state")
    try:
        config = json.loads(tags.get("plastsearch.config", ""))
    except ValueError:
        return None
    if state not in _STATES:
        return None
    of = tags.get("plastsearch.of")
    return TrialRecord(
        int(tags["plastsearch.trial"]),
        tags["plastsearch.config_id"],
        tags["plastsearch.role"],  # type: ignore[arg-type] # as we wrote it
        tags.get("plastsearch.control"),
        {},
        config,
        of=int(of) if of else None,
        seed=config.get("seed"),
        state=state,  # type: ignore[arg-type] # one of _STATES
        metrics={name: value for name, value in metrics.items() if "/" not in name and not name.startswith("eval_")},
    )
