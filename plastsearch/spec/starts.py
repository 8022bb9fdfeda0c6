"""Pretrained networks that come along with the package, by the name that `model.from` gives them.

A name alone would not say which weights a trial began from, so their digest is part of its id: other weights under the
same name are another start. `benchmarks/make_start.py` makes them.
"""

from collections.abc import Mapping

STARTS: Mapping[str, str] = {"tiny-speech": "879d2db655207674"}  # of model.safetensors: SHA-256, its first 16 digits
