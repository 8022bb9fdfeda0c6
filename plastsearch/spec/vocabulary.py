"""The words by which YAML names a thing; the things themselves stand in tables, beside their functions.

Apart from those because what is read before a sweep imports no torch, and from the sections that use them so that
`--help` can list them without pydantic. tests/test_contributing.py holds each list to its table.
"""

from typing import Literal

Model = Literal["wav2vec2", "resnet18", "grnn", "cnn", "lcnn"]
Head = Literal["linear", "mhfa", "sls", "aasist", "nes2net_x"]
Preset = Literal["tiny", "small", "base", "large"]
Method = Literal[
    "baseline", "dropin", "plasticity", "lora", "adalora", "lora_growth", "last_k", "stack", "truncate", "adaptive",
]  # fmt: skip
Criterion = Literal[
    "taylor", "fisher", "taylor_weight", "gradient_norm", "magnitude", "bn_gamma", "entropy", "entropy_shared",
    "gradient_entropy", "variance", "hebbian", "co_activation", "newest", "random",
]  # fmt: skip
Corpus = Literal[
    "synthetic", "asvspoof2019_la", "asvspoof2019_pa", "asvspoof2021_la", "asvspoof2021_df", "asvspoof5",
    "fake_or_real", "in_the_wild", "manifest",
]  # fmt: skip
