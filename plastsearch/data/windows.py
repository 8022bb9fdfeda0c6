"""Where a clip of any length is heard: windows at equal steps, in training as with a found model."""

HOP_S = 1.0


def starts(n_samples: int, length: int, hop: int) -> list[int]:
    """Where windows begin: every hop, and one more that ends with the clip where the last one does not."""
    if n_samples <= length:
        return [0]
    hop = min(hop, length)  # of models with short windows: nothing goes unheard between two
    found = list(range(0, n_samples - length + 1, hop))
    if found[-1] + length < n_samples:
        found.append(n_samples - length)
    return found
