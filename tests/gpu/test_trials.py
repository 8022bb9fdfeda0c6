"""Whole trials on a GPU: every network, every saving, and what becomes of a process that lost its GPU."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

for _name in ("pydantic", "soundfile", "cryptography", "scipy", "pyarrow"):
    pytest.importorskip(_name, reason=f"whole trials need {_name}")

from plastsearch.execute.messages import Failed, message_from
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.trial import scoring
from plastsearch.trial.run import run_trial
from tests.gpu.conftest import DEVICE, SITES

TINY: dict[str, Any] = {
    "data": {"clips": 48, "length_samples": 8000}, "neurons": 16, "calibration_clips": 16, "timing_steps": 3,
    "train": {"steps": 12, "batch_size": 8, "lr": 0.003, "precision": "float32"}, "timing_batch": 2,
}  # fmt: skip


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded clips, the same for all."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache: Path, tmp_path: Path, device: torch.device) -> Callable[..., Report]:
    """A tiny trial of a network; `settings` say how."""

    def trial(name: str, settings: dict[str, Any] | None = None, **changes: Any) -> Report:
        config = TrialConfig.model_validate({**TINY, "model": {"name": name}, "layers": (SITES[name],), **changes})
        where = {"store": tmp_path / "store", "cache": cache, "device": DEVICE, **(settings or {})}
        *_, final = run_trial(config, RunSettings.model_validate(where))
        return final

    return trial


@pytest.mark.parametrize("name", sorted(SITES))
def test_a_trial_of_every_network(name: str, run: Callable[..., Report]) -> None:
    final = run(name, method="plasticity")
    again = run(name, method="plasticity")
    assert 0 <= final.metrics["dev_eer"] <= 100
    assert again.metrics["dev_eer"] == final.metrics["dev_eer"]  # its stages were found
    assert final.metrics["backward_ratio"] > 0
    assert final.metrics["peak_memory_mb"] > 0
    assert ("gpu_seconds" in final.metrics) == (DEVICE == "cuda")
    assert final.details["device"]["clock"] == ("events" if DEVICE == "cuda" else "cpu time of one thread")


@pytest.mark.parametrize(
    ("name", "method"),
    [("grnn", "lora"), ("wav2vec2", "lora"), ("wav2vec2", "adalora"), ("resnet18", "adalora"),
     ("wav2vec2", "lora_growth")],
)  # fmt: skip
def test_adapters_in_the_same_place(name: str, method: str, run: Callable[..., Report]) -> None:
    assert run(name, method=method).metrics["params_added"] > 0


def test_a_trial_on_a_part_of_a_gpu_costs_that_part(gpu: torch.device, run: Callable[..., Report]) -> None:
    found = run("grnn", {"gpu_share": 0.25}).metrics
    assert found["gpu_seconds"] == pytest.approx(0.25 * found["seconds"])
    assert found["reused_gpu_seconds"] == 0


@pytest.mark.parametrize("change", [{"loader_workers": 3}, {"cache_prefix": False}])
def test_how_it_runs_changes_no_result(change: dict[str, Any], run: Callable[..., Report], tmp_path: Path) -> None:
    plain = run("wav2vec2", {"loader_workers": 0})
    other = run("wav2vec2", {"store": tmp_path / "other", **change})
    assert other.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-3)


def test_bfloat16_is_taken_where_it_is_fast(gpu: torch.device, run: Callable[..., Report]) -> None:
    wanted = "bf16 autocast" if torch.cuda.get_device_capability(gpu) >= (8, 0) else "float32"
    train = {**TINY["train"], "precision": "auto"}
    assert run("wav2vec2", train=train).details["device"]["dtype"] == wanted
    assert run("grnn", train=train).details["device"]["dtype"] == "float32"


REPEATED = """
import hashlib, json, sys
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_trial
from plastsearch.store.stages import StageStore
config, settings = TrialConfig.model_validate_json(sys.argv[1]), RunSettings.model_validate_json(sys.argv[2])
*_, final = run_trial(config, settings)
weights = StageStore(settings.store).load(final.details["model_key"])
print(hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest())
"""


@pytest.mark.parametrize("name", sorted(SITES))
def test_deterministic_trials_agree_to_the_last_bit(name: str, device: torch.device, cache: Path, tmp_path: Path):
    config = TrialConfig.model_validate({**TINY, "model": {"name": name}, "layers": (SITES[name],)})
    said = []
    for folder in ("one", "other"):
        where = RunSettings(store=tmp_path / folder, cache=cache, device=DEVICE, deterministic=True)
        words = [sys.executable, "-c", REPEATED, config.model_dump_json(by_alias=True), where.model_dump_json()]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        said.append(ended.stdout)
    assert said[0] == said[1]


def test_scores_do_not_depend_on_the_memory(gpu: torch.device) -> None:
    from plastsearch.models.build import build

    module = build("wav2vec2", "tiny", seed=3).to(gpu)
    wave_BT = torch.randn(64, 64_000, device=gpu)
    whole = scoring.score(module, module, iter([wave_BT]), bf16=False)

    def peak(parts: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu)
        scoring.score(module, module, iter(wave_BT.chunk(parts)), bf16=False)
        return torch.cuda.max_memory_reserved(gpu)

    most, least = peak(1), peak(8)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((most + 2 * least) / 3 / total, gpu)
    try:
        found = scoring.score(module, module, iter([wave_BT]), bf16=False)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    assert abs(found - whole).max() < 1e-4


STRAY = """
import sys
import torch
from plastsearch.execute import worker
from plastsearch.execute.messages import Task, message_as_text
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings

def trial(config, settings):
    there = torch.zeros(3, device="cuda")
    print(there[torch.tensor([7], device="cuda")].sum().item(), file=sys.stderr)
    yield

worker.resolve = lambda reference: trial
*_, end = worker.messages(Task(function="any", config=TrialConfig(), settings=RunSettings(store="s", cache="c")))
print(message_as_text(end))
"""


def test_a_process_with_a_stray_access_is_spent(gpu: torch.device) -> None:
    """In a process of its own: no other test could use the GPU after it."""
    ended = subprocess.run([sys.executable, "-c", STRAY], capture_output=True, text=True, timeout=300)
    end = message_from(ended.stdout.splitlines()[-1])
    assert isinstance(end, Failed)
    assert (end.again, end.gpu_lost) == (True, True)


def test_neighbours_on_the_gpu_are_seen_and_told(gpu: torch.device, run: Callable[..., Report]) -> None:
    alone = run("grnn")
    assert "shared" not in alone.details["device"]
    hold = f"import torch; x = torch.ones(750_000_000, device='{gpu}'); torch.cuda.synchronize(); print(1, flush=True)"
    neighbour = subprocess.Popen(
        [sys.executable, "-c", f"{hold}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "1\n"
        found = run("grnn", seed=1)  # another seed: the measured steps are the same, and nothing is taken over
        assert found.details["device"]["shared"].startswith("other processes hold")
        assert any("not the trial's alone" in text for text in found.details["warnings"])
    finally:
        neighbour.communicate("\n")
