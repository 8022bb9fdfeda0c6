"""The folded models of a sweep's front in MLflow: each logged once beside its trial's run, the best one registered."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from plastsearch.export.mlflow_model import check_answer, served
from plastsearch.tracking.mlflow_models import Logged, log_into, logged_in, registered
from plastsearch.tracking.mlflow_sync import trial_runs
from plastsearch.use.folder import write_folder
from plastsearch.use.load import load


@dataclass(frozen=True)
class FrontModel:
    """One member of the front, and what became of it."""

    trial: int
    logged: Logged | None
    said: str

    @property
    def plain(self) -> dict[str, object]:
        """For programs."""
        names = [] if self.logged is None else self.logged.names
        return {"model": f"trial {self.trial}", "trial": self.trial, "names": names, "said": self.said}


def log_front(folder: Path, address: str, register: str | None = None, alias: str | None = None) -> list[FrontModel]:
    """Log every member whose weights the store still has; with `register` the best one becomes a version of that name.

    What is logged or registered already stays as it is.
    """
    results = load_results(folder)
    runs = trial_runs(folder, address)
    winner = results.winner
    if register and winner is None:
        raise PlastsearchError(f"--register {register}: no trial of {folder} grew anything and ended well")
    members = [row.number for row in results.front]
    if winner is not None and winner.number not in members:
        members.append(winner.number)
    return [
        _logged(folder, address, number, runs[number],
                register if winner is not None and number == winner.number else None, alias)
        for number in sorted(members)
    ]  # fmt: skip


def _logged(folder: Path, address: str, number: int, run: str, register: str | None, alias: str | None) -> FrontModel:
    known = logged_in(address, run)
    said = "its model was there already"
    if known is None:
        try:
            known = _log(folder, address, number, run, check=register is not None)
        except PlastsearchError as error:
            if register is not None:
                raise
            return FrontModel(number, None, f"not logged: {error}")  # dropped from the store, say; others may be there
        said = "its model was logged"
    if register is None:
        return FrontModel(number, Logged(run, known), said)
    found, new = registered(address, run, known, register, alias)
    version = f"{register} version {found.version}{f', alias {alias}' if alias else ''}"
    return FrontModel(number, found, f"{said}; {'registered as' if new else 'registered before as'} {version}")


def _log(folder: Path, address: str, number: int, run: str, *, check: bool) -> str:
    model = load(f"{folder}:{number}", "cpu")
    with TemporaryDirectory() as place:
        exported = Path(place) / "exported"
        write_folder(exported, model.detector, model.facts)
        with served(model, exported) as made:
            if check:  # a process of its own, some ten seconds: for the one that others will load
                check_answer(model, made)
            return log_into(address, run, made)
