"""The heads of speech encoders that are more than a pooling. Each makes frames one row; a linear layer follows.

To add one: a network in a file of its own, its line here, its word in `spec/vocabulary.py`.
"""

from collections.abc import Callable

from torch import nn

from plastsearch.models.heads.aasist import AASIST
from plastsearch.models.heads.mhfa import MHFA
from plastsearch.models.heads.nes2net import Nes2NetX
from plastsearch.models.heads.sls import SLS

# Name → the network for so many features of a frame and so many states of the encoder. It says `outputs`, the width
# of its row, and may say `least`, the fewest frames it can read, and `multiple`, of what the features are to be one.
# What may grow in it has a keyword, for exports build it again.
HEADS: dict[str, Callable[..., nn.Module]] = {
    "aasist": AASIST,
    "mhfa": MHFA,
    "nes2net_x": Nes2NetX,
    "sls": SLS,
}
