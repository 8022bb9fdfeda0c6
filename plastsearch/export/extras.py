"""What `export` makes beside weights, code and card on demand: an ONNX file in the folder, and a model in MLflow."""

from dataclasses import dataclass
from pathlib import Path

from plastsearch.addresses import address_of, shown
from plastsearch.errors import PlastsearchError
from plastsearch.export.onnx_file import FILE, check_installed, write_onnx
from plastsearch.tracking.mlflow_models import check_names
from plastsearch.use.model import Model


@dataclass(frozen=True)
class Extras:
    """What was asked for; an address of MLflow may be `env:NAME`."""

    onnx: bool = False
    mlflow: str | None = None
    register: str | None = None
    alias: str | None = None

    def check(self) -> None:
        """Refuse what cannot work before anything is loaded or written."""
        if self.onnx:
            check_installed()
        if self.mlflow is None and self.register is not None:
            raise PlastsearchError("--register names a model in MLflow: say in which, with --mlflow ADDRESS")
        check_names(self.register, self.alias)
        if self.mlflow is not None and not address_of(self.mlflow):
            raise PlastsearchError("--mlflow needs an address: http://…, sqlite:///FILE, or env:NAME that holds one")


def add_files(model: Model, folder: Path, wanted: Extras) -> list[str]:
    """Into a folder that is being written; a sentence on each file."""
    if not wanted.onnx:
        return []
    written = write_onnx(model, folder / FILE)
    found = written.parity
    return [
        f"{FILE}: {written.size_bytes / 1e6:.1f} MB, opset {written.opset}; its scores of {found.clips} clips of "
        f"{len(found.lengths)} other lengths are within {max(found.worst, found.plain):.1e} of the network's"
    ]


def log_folder(model: Model, folder: Path, wanted: Extras) -> list[str]:
    """A folder that is whole, to MLflow; where it is now."""
    if wanted.mlflow is None:
        return []
    from plastsearch.export.mlflow_model import log_exported

    logged = log_exported(model, folder, wanted.mlflow, wanted.register, wanted.alias)
    return [
        f"MLflow at {shown(address_of(wanted.mlflow))}: {', '.join(logged.names)}",
        f"serve it: mlflow models serve -m {logged.names[-1]} --env-manager local --port 5001",
    ]
