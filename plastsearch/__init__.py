"""plastsearch: where a speech-deepfake detector should grow, by how much, and what to cut again."""

__version__ = "0.1.0"
