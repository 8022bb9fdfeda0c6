"""Models that MLflow keeps: logged beside the run of their trial, registered, and fetched again as plain files.

Fetching runs nothing of what a model brings with it: of its files only an exported folder is looked at, elsewhere.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plastsearch.addresses import EXPECTED, shown, without_secrets
from plastsearch.errors import PlastsearchError
from plastsearch.tracking.mlflow_store import be_quiet, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "model"  # of the logged model, and of the artifact in it that is the exported folder
_SQLITE = "sqlite:///"
_REGISTERED = re.compile(r"[^/:@\s][^/:@]{0,249}")
_ALIAS = re.compile(r"(?!v\d+$)[A-Za-z0-9_-]{1,255}")

Kind = Literal["string", "double", "any"]


@dataclass(frozen=True)
class Column:
    """One column of a table that a model takes or gives."""

    name: str
    kind: Kind
    required: bool = True


@dataclass(frozen=True)
class Parameter:
    """What a request may set for all its rows."""

    name: str
    kind: Literal["string", "double"]
    default: str | float | None


@dataclass(frozen=True)
class Served:
    """A model as MLflow is to keep it: files, and how it is asked."""

    folder: Path  # the exported one
    code: Path  # the file that MLflow runs
    code_paths: Sequence[Path]  # what that imports
    requirements: Sequence[str]
    takes: Sequence[Column]
    gives: Sequence[Column]
    parameters: Sequence[Parameter]
    example: Mapping[str, Sequence[object]]  # column → cells


@dataclass(frozen=True)
class Origin:
    """Where a model was found: what its run is found again by, or a new run is told."""

    name: str
    experiment: str
    trial_id: str | None
    trial: int | None
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Logged:
    """Where a model is now."""

    run: str
    uri: str
    registered: str | None = None
    version: str | None = None
    alias: str | None = None

    @property
    def names(self) -> list[str]:
        """Every name it can be loaded and served by, the best one last."""
        found = [f"runs:/{self.run}/{NAME}"]
        if self.registered is not None:
            found.append(f"models:/{self.registered}/{self.version}")
            if self.alias is not None:
                found.append(f"models:/{self.registered}@{self.alias}")
        return found


def check_names(register: str | None, alias: str | None) -> None:
    """Refuse names that MLflow has no room for, before anything is written."""
    if register is not None and _REGISTERED.fullmatch(register) is None:
        raise PlastsearchError(f"--register {register}: a model's name has no / : or @ in it")
    if alias is not None and register is None:
        raise PlastsearchError("--alias is given to a registered model: add --register NAME")
    if alias is not None and _ALIAS.fullmatch(alias) is None:
        raise PlastsearchError(f"--alias {alias}: letters, digits, - and _, and not v and a number")


def log_model(address: str, served: Served, origin: Origin, register: str | None, alias: str | None) -> Logged:
    """Log a model into the run of its trial, or into a run of its own where the store has none of that trial."""
    check_names(register, alias)
    with _speaking(address, "cannot take the model"):
        client = open_store(address)
        with _tracking(address), _trying():
            run, own = _run(client, address, origin)
            try:
                info = _log(client, run, served, register)
            except BaseException:
                if own:
                    client.set_terminated(run, "FAILED")
                raise
        if own:
            client.set_terminated(run)
        version = None if register is None else str(info.registered_model_version)
        if alias is not None:
            client.set_registered_model_alias(register, alias, version)
    return Logged(run, str(info.model_uri), register, version, alias)


def log_into(address: str, run: str, served: Served) -> str:
    """Log a model into a run that is known; its address in that store."""
    with _speaking(address, "cannot take the model"):
        client = open_store(address)
        with _tracking(address), _trying():
            return str(_log(client, run, served, None).model_uri)


def logged_in(address: str, run: str) -> str | None:
    """The newest model of a run that is whole, if there is one."""
    with _speaking(address, f"cannot tell the models of run {run}"):
        client = open_store(address)
        outputs = client.get_run(run).outputs
        models = [client.get_logged_model(one.model_id) for one in (outputs.model_outputs if outputs else ())]
        ready = [one.model_id for one in models if str(one.status) == "READY"]  # a killed upload leaves it pending
        return f"models:/{ready[-1]}" if ready else None


def registered(address: str, run: str, model: str, name: str, alias: str | None) -> tuple[Logged, bool]:
    """A logged model as a version of a registered one, and whether it is a new one."""
    check_names(name, alias)
    with _speaking(address, f"cannot register {name}"):
        client = open_store(address)
        known = [one for one in client.search_model_versions(f"name = '{_quoted(name)}'") if one.source == model]
        if known:
            version = str(known[0].version)
        else:
            import mlflow

            with _tracking(address), _trying():
                version = str(mlflow.register_model(model, name).version)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
        return Logged(run, model, name, version, alias), not known


def _quoted(name: str) -> str:
    return name.replace("'", "''")


def fetch(uri: str, into: Path) -> Path:
    """Download a model's files; the address of the server is that of the environment."""
    address = os.environ.get(EXPECTED, "")
    if not address:
        raise PlastsearchError(f"{uri}: which MLflow? set {EXPECTED} to its address, e.g. export {EXPECTED}=http://…")
    if address.startswith(_SQLITE) and not Path(address.removeprefix(_SQLITE)).is_file():
        raise PlastsearchError(
            f"{uri}: {EXPECTED}={address}: no such file; MLflow would make an empty one in its place"
        )
    with _speaking(address, f"cannot give {uri}"):
        client = open_store(address)
        from mlflow.artifacts import download_artifacts

        whole = _of_run(client, uri) if re.fullmatch(r"runs:/[^/]+/?", uri) else uri
        with _tracking(address):  # the address as an argument does not reach what looks up logged models
            return Path(download_artifacts(artifact_uri=whole, dst_path=str(into)))


def _of_run(client: "MlflowClient", uri: str) -> str:
    """The one model of a run."""
    run = client.get_run(uri.removeprefix("runs:/").strip("/"))
    models = [] if run.outputs is None else [one.model_id for one in run.outputs.model_outputs]
    if not models:
        raise PlastsearchError(
            f"{uri}: no model was logged in that run; `plastsearch export SWEEP:17 DIR --mlflow ADDRESS` logs one, and "
            "SWEEP:17 is itself a model's name where the sweep's folder is at hand"
        )
    return f"models:/{models[-1]}"  # the newest: exported again


def _run(client: "MlflowClient", address: str, origin: Origin) -> tuple[str, bool]:
    """The run of the trial, or a new one of its own."""
    if origin.trial_id is not None:
        experiments = [one.experiment_id for one in client.search_experiments()]
        wanted = f"tags.`plastsearch.config_id` = '{origin.trial_id}' and tags.`plastsearch.trial` = '{origin.trial}'"
        for run in client.search_runs(experiments, wanted, max_results=1):  # the newest
            return str(run.info.run_id), False
    run = client.create_run(
        _experiment(client, address, origin.experiment), tags=dict(origin.tags), run_name=origin.name
    )
    for name, value in origin.metrics.items():
        client.log_metric(run.info.run_id, name, value)
    return str(run.info.run_id), True


def _experiment(client: "MlflowClient", address: str, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)
    if not address.startswith(_SQLITE):
        return str(client.create_experiment(name))
    # Without a place of its own an experiment writes into the folder in which one happens to stand.
    artifacts = Path(address.removeprefix(_SQLITE)).resolve().with_name("artifacts")
    return str(client.create_experiment(name, artifact_location=artifacts.as_uri()))


def _log(client: "MlflowClient", run: str, served: Served, register: str | None) -> Any:
    import mlflow.pyfunc
    from mlflow.models import Model

    # By the class, as MLflow's function for people makes a run the active one, and so ends it anew; and into a model
    # that is there already, or it would lie in the default experiment.
    known = client.get_run(run)
    made = client.create_logged_model(
        known.info.experiment_id, NAME, source_run_id=run, params=dict(known.data.params), model_type="plastsearch"
    )
    return Model.log(
        None, mlflow.pyfunc, registered_model_name=register, run_id=run, model_id=made.model_id,
        **_files_and_signature(served),
    )  # fmt: skip


def save_model(path: Path, served: Served) -> None:
    """The same as a folder of MLflow's, without any server."""
    with _trying():
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(str(path), **_files_and_signature(served))


def _files_and_signature(served: Served) -> dict[str, Any]:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema

    parameters = [ParamSpec(one.name, one.kind, one.default) for one in served.parameters]
    return {
        "python_model": str(served.code),
        "artifacts": {NAME: str(served.folder)},
        "code_paths": [str(path) for path in served.code_paths],
        "pip_requirements": list(served.requirements),
        "signature": ModelSignature(
            Schema([_column(one) for one in served.takes]),
            Schema([_column(one) for one in served.gives]),
            ParamSchema(parameters),
        ),
        "input_example": pd.DataFrame(dict(served.example)),
    }


def _column(column: Column) -> Any:
    from mlflow.types import ColSpec, DataType
    from mlflow.types.schema import AnyType

    kind = AnyType() if column.kind == "any" else DataType[column.kind]
    return ColSpec(kind, column.name, required=column.required)


@contextmanager
def _tracking(address: str) -> Iterator[None]:
    """MLflow's functions for people with another store than the one they had."""
    import mlflow

    # Whatever a program has set stands in the environment, too: MLflow puts it there for processes of its own. Of the
    # registry nothing is set: it is the same server unless somebody has said otherwise.
    named = os.environ.get(EXPECTED)
    mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if named is not None:
            os.environ[EXPECTED] = named


@contextmanager
def _trying() -> Iterator[None]:
    """While MLflow opens a model to try its example: without its talk, and without the path that this leaves."""
    be_quiet()
    path = list(sys.path)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.path[:] = path


@contextmanager
def _speaking(address: str, what: str) -> Iterator[None]:
    """What MLflow, its backends and its transports complain of, in a sentence and without a login."""
    try:
        yield
    except PlastsearchError:
        raise
    except Exception as error:  # noqa: BLE001 a server may fail in any way, in the words of any library
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PlastsearchError(f"MLflow at {shown(address)} {what} ({without_secrets(said, address)[:400]})") from None
