"""Executors serve whole sweeps, made as the driver's own tests make them."""

from tests.sweep.conftest import rig

__all__ = ["rig"]
