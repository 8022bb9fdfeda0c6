"""ONNX files beside the networks they were made of: the largest difference of a score over 100 clips.

    python benchmarks/onnx_parity.py
    python benchmarks/onnx_parity.py --only wav2vec2 --steps 10

Each row is a network that was trained shortly on the generated corpus, grown at one site and pruned, so that its
widths are irregular (HuBERT and WavLM: random weights). It is exported by way of an example of 2 clips of one second;
the clips it is compared on are generated speech, 20 for each of five other lengths, in batches of 1 to 7, a tenth of
each clip digital silence. "largest difference" is to the network with its spectrum in double precision, as the file
has it; "with torch's rounding" to the network as it is, in single precision. The name is not onnx.py, which
`import onnx` would find.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from results import Cell, Table, write

from plastsearch.data.corpus import open_corpus
from plastsearch.export.onnx_check import TOLERANCE, opened, parity, scored
from plastsearch.export.onnx_file import write_onnx
from plastsearch.growth.folding import fold_
from plastsearch.models.build import from_config
from plastsearch.models.catalog import preset_widths
from plastsearch.models.detector import Detector
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.trial.run import run_stages, start
from plastsearch.use.facts import Facts
from plastsearch.use.model import Model
from plastsearch.use.windows import Wave

RATE_HZ = 16_000
EXAMPLE_S = 1.0
LENGTHS_S = (0.7, 1.31, 2.05, 4.04, 8.2)
CLIPS_EACH = 20
SITES = {"grnn": ("gru.1",), "resnet18": ("layer3.0",), "wav2vec2": ("encoder.2.ffn",)}
GROUPS = (*SITES, "special")
POOLINGS = ("mean", "mean_std", "attention")
FRONT_ENDS = {"mean": "log_mel", "mean_std": "lfcc", "attention": "mfcc"}
COLUMNS = [
    ("network", ""), ("front end", ""), ("pooling", ""), ("clips", ""), ("scores from", "+.2f"), ("to", "+.2f"),
    ("largest difference", ".1e"), ("with torch's rounding", ".1e"), ("file (MB)", ".2f"),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--only", choices=GROUPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = RunSettings(store=Path(folder) / "store", cache=Path(folder) / "cache", device="cpu")
        clips = batches(settings)
        for group in GROUPS if options.only is None else (options.only,):
            rows: list[list[Cell]] = []
            for name, front_end, pooling, detector in networks(group, settings, options.steps):
                rows.append([name, front_end, pooling, *compared(detector, clips, Path(folder) / "model.onnx")])
                print(rows[-1], flush=True)
            write("onnx", {group: Table(COLUMNS, rows)})
            assert max(float(str(row[6])) for row in rows) <= TOLERANCE, group


def networks(group: str, settings: RunSettings, steps: int) -> Iterator[tuple[str, str, str, Detector]]:
    """A family with every pooling and several front ends, or what is special about some."""
    if group in SITES:
        for pooling in POOLINGS:
            more = {} if group == "wav2vec2" else {"front_end": FRONT_ENDS[pooling]}
            yield group, more.get("front_end", "waveform"), pooling, trained(settings, steps, group, pooling, more)
        return
    both = {"front_end": "linear", "bidirectional": True}
    yield "grnn, bidirectional", "linear", "mean", trained(settings, steps, "grnn", "mean", both)
    for network in ("grnn", "resnet18"):
        fires = trained(settings, steps, network, "mean", {"front_end": "log_mel", "activation": "lif"})
        yield f"{network}, spiking", "log_mel", "mean", fires
    for kind in ("hubert", "wavlm"):
        widths = {"model_type": kind, **preset_widths("wav2vec2", "tiny"), "pooling": "mean", "dropout": 0.0}
        torch.manual_seed(0)
        yield f"{kind}, random", "waveform", "mean", from_config({**widths, "do_stable_layer_norm": False})


def trained(settings: RunSettings, steps: int, network: str, pooling: str, more: dict[str, object]) -> Detector:
    """A network after growth and pruning, as plain modules."""
    config = TrialConfig.model_validate(
        {
            "model": {"name": network, "pooling": pooling, **more}, "method": "plasticity", "layers": SITES[network],
            "neurons": 16, "data": {"clips": 120, "length_samples": round(EXAMPLE_S * RATE_HZ)},
            "train": {"steps": steps, "batch_size": 8, "lr": 0.003}, "calibration_clips": 16,
        }
    )  # fmt: skip
    trial = start(config, settings, lambda: False)
    for _ in run_stages(trial):
        pass
    assert trial.network is not None
    fold_(trial.network.module, verify=False)
    return trial.network.module.eval()


def batches(settings: RunSettings) -> list[Wave]:
    """Clips of each length, in batches of unlike numbers."""
    config = TrialConfig.model_validate({"data": {"clips": 120, "length_samples": round(4.04 * RATE_HZ), "seed": 5}})
    speech = open_corpus(config.data, settings.clips_folder).search_dev
    long = [speech.batch([n], round(4.04 * RATE_HZ))[0] for n in range(min(len(speech), 40))]
    found: list[Wave] = []
    for k, length_s in enumerate(LENGTHS_S):
        length = round(length_s * RATE_HZ) + k
        rows = [np.resize(np.roll(long[(k + n) % len(long)], 997 * n), length) for n in range(CLIPS_EACH)]
        whole = np.stack(rows).astype(np.float32)
        whole[:, length // 2 : length // 2 + length // 10] = 0
        at = 0
        for size in (1, 2, 3, 7, 7):
            found.append(whole[at : at + size])
            at += size
    return found


def compared(detector: Detector, clips: Sequence[Wave], path: Path) -> list[Cell]:
    """The cells of a row."""
    facts = Facts(
        name="benchmark", network={"model_type": "any"}, growth={}, rate_hz=RATE_HZ,
        length_samples=round(EXAMPLE_S * RATE_HZ),
    )  # fmt: skip
    model = Model(detector, facts, torch.device("cpu"))
    written = write_onnx(model, path)
    found = parity(model, path, clips)
    session = opened(path)
    scores = np.concatenate([scored(session, one) for one in clips])
    return [
        found.clips, float(scores.min()), float(scores.max()), found.worst, found.plain, written.size_bytes / 1e6
    ]  # fmt: skip


if __name__ == "__main__":
    main()
