"""What `export` makes of a finished folder on demand: an ONNX file in it, and a model in MLflow."""

from dataclasses import dataclass
from pathlib import Path

from plastsearch.addresses import address_of, shown
from plastsearch.errors import PlastsearchError
from plastsearch.export.onnx_file import FILE, check_installed, write_onnx
from plastsearch.tracking.mlflow_models import check_names
from plastsearch.use.model import Model


@dataclass(frozen=True)
class Extras:
    """What was asked for beside the folder; an address of MLflow may be `env:NAME`."""

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


def write_extras(model: Model, folder: Path, wanted: Extras) -> list[str]:
    """Make them of the folder that was just exported; a sentence on each."""
    said: list[str] = []
    if wanted.onnx:
        written = write_onnx(model, folder / FILE)
        found = written.parity
        apart = max(found.worst, found.plain)
        said.append(
            f"{written.path}: {written.size_bytes / 1e6:.1f} MB, opset {written.opset}; its scores of {found.clips} "
            f"clips of {len(found.lengths)} other lengths are within {apart:.1e} of the network's"
        )
    if wanted.mlflow is not None:
        from plastsearch.export.mlflow_model import log_exported

        logged = log_exported(model, folder, wanted.mlflow, wanted.register, wanted.alias)
        said.append(f"MLflow at {shown(address_of(wanted.mlflow))}: {', '.join(logged.names)}")
        said.append(f"serve it: mlflow models serve -m {logged.names[-1]} --env-manager local --port 5001")
    return said
