"""The made-up sweeps that the tests of `analysis` read, for what is written of them."""

from tests.analysis.conftest import folder, noisy, results, single

__all__ = ["folder", "noisy", "results", "single"]
