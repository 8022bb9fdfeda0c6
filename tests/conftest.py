"""Surroundings that every test shares: one thread, no network, no accounts, reproducible examples."""

import os

# Set before any of these libraries is imported, here and in the processes that tests start.
os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
    }
)

from hypothesis import HealthCheck, settings

settings.register_profile("plastsearch", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plastsearch")
