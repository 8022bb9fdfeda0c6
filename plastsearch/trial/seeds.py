"""A seed of its own for each purpose, derived from the trial's."""

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """The same on every machine; below 2^31, so that it fits every generator."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
