"""All that commands import while they run, imported once, so that no child need do it."""

import importlib
import pkgutil
import warnings

import plastsearch

# What is loaded as a file of its own, or only inside Ray's workers.
NOT = ("plastsearch.execute.ray", "plastsearch.kubernetes.wheel_hook", "plastsearch.kubernetes.make_schemas",
       "plastsearch.export.portable", "plastsearch.preflight.forecast_child")  # fmt: skip
OTHERS = (
    "PIL.ImageFile", "PIL.PngImagePlugin", "alembic.command", "boto3", "botocore.session", "encodings.ascii",
    "encodings.utf_8_sig", "jsonschema", "kubernetes_validate", "matplotlib.backends.backend_agg",
    "matplotlib.pyplot", "mlflow",
    "mlflow.store.tracking.sqlalchemy_store", "optuna", "plotly.graph_objects", "pyarrow.csv", "pyarrow.parquet",
    "rich._emoji_codes",
    "rich.live", "rich.progress", "rich.table", "scipy.stats", "sklearn", "soundfile", "sympy", "torch._dynamo",
    "typer._adapters",
    "typer.rich_utils",
)  # fmt: skip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for found in pkgutil.walk_packages(plastsearch.__path__, "plastsearch."):
        if not found.name.startswith(NOT):
            importlib.import_module(found.name)
    for name in OTHERS:
        importlib.import_module(name)
