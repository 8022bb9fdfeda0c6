"""The code of a logged MLflow model: MLflow copies this file beside the weights and runs it where the model is opened.

Nothing is pickled: the network is built from the exported folder, which is the model's only artifact.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow.models  # noqa: TID253 the file is run by MLflow alone
import torch
from mlflow.exceptions import MlflowException  # noqa: TID253
from mlflow.pyfunc import PythonModel  # noqa: TID253

from plastsearch.errors import PlastsearchError
from plastsearch.use.answering import answers
from plastsearch.use.folder import read_folder
from plastsearch.use.model import Model


class SpeechDetector(PythonModel):  # type: ignore[misc] # its base is untyped
    """Rows of audio in, a score, a probability and a decision for each out."""

    model: Model

    def load_context(self, context: Any) -> None:
        """Build the network; on a GPU where there is one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Model(*read_folder(Path(context.artifacts["model"])), device)

    # Without types: MLflow takes one of the table for its schema, which the signature gives.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ARG002
        """An answer for each row of the table that came in."""
        try:
            found = answers(self.model, model_input.to_dict("records"), params or {})
        except PlastsearchError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return [asdict(one) for one in found]


mlflow.models.set_model(SpeechDetector())
