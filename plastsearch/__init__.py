"""plastsearch: where a speech-deepfake detector should grow, by how much, and what to cut again."""

from typing import TYPE_CHECKING

from plastsearch.version import __version__

if TYPE_CHECKING:
    from plastsearch.use.model import Model

__all__ = ["__version__", "load_model"]


def load_model(name: str, device: str = "auto") -> "Model":
    """A found detector, ready to score: `SWEEP:best`, `SWEEP:17`, an exported folder, or a model that MLflow keeps."""
    # Imported when it is wanted: whoever reads a search space should not wait for torch.
    from plastsearch.use.load import load

    return load(name, device)
