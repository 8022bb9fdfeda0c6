"""What a trial refuses before it trains is what growth would refuse after it."""

import itertools
import subprocess
import sys

import pytest

from plastsearch.errors import TrialError
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.methods import check

FFN, HEADS, DIMS = "encoder.3.ffn", "encoder.3.attention", "encoder.3.head_width"
BAD = [
    ({"layers": [FFN], "neurons": 8, "init": "net2net"}, "net2net shares out"),
    ({"layers": [FFN], "neurons": 7, "init": "pairs"}, "pairs need an even number"),
    ({"layers": [HEADS], "neurons": 12, "init": "gradmax"}, "gradmax starts from zero"),
    ({"layers": [FFN], "neurons": 49, "init": "gradmax"}, "gradmax has 48 directions to offer, 49"),
    ({"layers": [HEADS], "neurons": 6}, "multiples of 12"),
    ({"layers": [DIMS], "neurons": -4}, "cannot grow by -4"),
    ({"layers": [DIMS], "neurons": 8, "operator": "parallel"}, "no branch can be added"),
    ({"layers": [DIMS], "neurons": 8, "method": "stack"}, "head width is no layer"),
    ({"layers": [HEADS, DIMS], "neurons": 12}, "cannot both carry blocks"),
    ({"layers": [FFN], "neurons": 8, "method": "plasticity", "criterion": "bn_gamma"}, "needs BatchNorm"),
]


@pytest.mark.parametrize(("changes", "words"), BAD)
def test_refused_before_anything_is_trained(changes, words):
    with pytest.raises(TrialError, match=words):
        check(TrialConfig.model_validate(changes))


def test_what_can_be_is_not_refused():
    good = itertools.product((FFN, HEADS, DIMS), ("frozen", "unfrozen"), ("random", "orthogonal", "pairs", "copies"))
    for site, regime, init in good:
        check(TrialConfig.model_validate({"layers": [site], "neurons": 24, "regime": regime, "init": init}))
    check(TrialConfig.model_validate({"layers": [HEADS, DIMS], "neurons": 12, "regime": "unfrozen"}))
    check(TrialConfig.model_validate({"layers": [HEADS, DIMS], "neurons": 12, "method": "lora", "regime": "unfrozen"}))


def test_the_rules_need_no_torch():
    code = "import sys, plastsearch.growth.rules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
