"""Some tests of the store run whole trials: with the settings and the decoded clips that the tests of trials have."""

from tests.trial.conftest import cache, settings

__all__ = ["cache", "settings"]
