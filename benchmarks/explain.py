"""Which explanations hold: deletion against chance, and spliced clips, for every method and several blocks of Grad-CAM.

python benchmarks/explain.py SWEEP:TRIAL …     # tested on the search-dev clips of each sweep
"""

import argparse
from functools import partial

import torch
from results import Table, write

from plastsearch.explain.clips import of_sweep, pairs
from plastsearch.explain.evidence import Interval, deletion, splice
from plastsearch.explain.inputs import Inputs
from plastsearch.explain.relevance import MethodName, Settings, default_layer, explain, methods_for
from plastsearch.use.load import load
from plastsearch.use.references import InSweep, parse
from plastsearch.use.stages import stages_from_sweep

COLUMNS = [
    ("model", ""), ("method", ""), ("clips", "d"), ("deletion: area to chance (logits)", ""), ("deletion", ""),
    ("splice: AUC over frames", ""), ("splice", ""),
]  # fmt: skip
LAST_BLOCKS = ("layer1.1", "layer2.1", "layer3.1", "layer4.1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clips", type=int, default=120)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[str | float | None]] = []
    for name in options.models:
        for row in tested(name, options.clips):
            rows.append(row)
            print(*row, sep=" | ", flush=True)
    write("explain", {"evidence": Table(COLUMNS, rows)})


def tested(name: str, most: int) -> list[list[str | float | None]]:
    """A row for each method, and for each block where there are maps of several sizes."""
    model = load(name, "cpu")
    reference = parse(name)
    assert isinstance(reference, InSweep)
    inputs = Inputs(model.detector)
    blocks = [block for block, _ in inputs.detector.blocks() if block in LAST_BLOCKS]
    asked: list[tuple[MethodName, str | None]] = [
        (method, None) for method in methods_for(inputs) if method != "grad-cam"
    ]
    asked += [("grad-cam", block) for block in blocks or [default_layer(inputs)]]
    rows: list[list[str | float | None]] = []
    with of_sweep(model, stages_from_sweep(reference), None, lambda *_: None) as every:
        clips = every.some(most, 0)
        joined = pairs(clips, most // 2, 0)
        for method, layer in asked:
            of = partial(explain, inputs, method, settings=Settings(layer=layer))
            window_s = model.window_samples / model.rate_hz
            gone = deletion(inputs, of, method, clips, model.threshold(), window_s, 0, model.device, lambda _: None)
            found = splice(
                inputs, of, method, clips, joined, model.rate_hz, model.window_samples, 0, model.device, lambda _: None
            )
            kind = str(model.facts.network["model_type"])
            named = f"{method}, {layer}" if layer else method
            rows.append(
                [kind, named, len(clips), text(gone.area, "+.2f"), gone.finding, text(found.area, ".2f"), found.finding]
            )
    return rows


def text(one: Interval, form: str) -> str:
    """A mean with its interval."""
    return f"{one.mean:{form}} [{one.low:{form}}, {one.high:{form}}]".replace("-", "−")


if __name__ == "__main__":
    main()
