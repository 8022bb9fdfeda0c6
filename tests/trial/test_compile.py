"""`train.compile`: the same numbers with and without; left out, or refused, where it brings nothing."""

import sys
from pathlib import Path

import pytest
from torch._dynamo.utils import counters

from plastsearch.errors import TrialError
from plastsearch.models.build import build
from plastsearch.private_folder import private_folder
from plastsearch.trial import device as devices
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import SITES, alike, make_config, steady

# The generator of code warns of torch's own past as it is imported.
SLOW = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "method", "name"),
    [
        ("aot_eager", "plasticity", "wav2vec2"),
        ("aot_eager", "last_k", "resnet18"),
        pytest.param("inductor", "baseline", "wav2vec2", marks=SLOW),
    ],
)
def test_compiled_steps_give_the_same_metrics(backend, method, name, settings, tmp_path, monkeypatch) -> None:
    changes = {"model": {"name": name}, "layers": (SITES[name],), "method": method}
    *_, plain = run_trial(make_config(**changes), settings(store=tmp_path / "plain"))
    monkeypatch.setattr(devices, "COMPILE_DEVICES", ("cpu",))
    monkeypatch.setattr(devices, "COMPILE_BACKEND", backend)
    counters.clear()
    *_, compiled = run_trial(make_config(**changes, train={"compile": True}), settings())
    assert counters["stats"]["unique_graphs"] >= 1
    assert not counters["graph_break"]
    alike(steady(compiled), steady(plain), rel=1e-3)


def test_on_a_cpu_the_switch_is_left_out_and_the_report_says_so(settings) -> None:
    model = {"name": "resnet18"}
    config = make_config(model=model, layers=(), method="baseline", train={"steps": 3, "compile": True})
    *_, final = run_trial(config, settings())
    assert devices.LEFT_OUT in final.details["warnings"]


def test_a_network_with_nothing_to_compile_refuses_it(settings) -> None:
    with pytest.raises(TrialError, match=r"train\.compile: grnn has nothing to compile.*set it to false"):
        list(run_trial(make_config(train={"compile": True}), settings()))


@pytest.mark.filterwarnings("ignore")
def test_compiled_code_is_kept_where_nobody_else_can_put_any(monkeypatch) -> None:
    """Torch runs what it finds there."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with devices.compiled_(build("resnet18", "tiny", seed=0), True):
        assert Path(cache_dir()) == private_folder() / "inductor"
