"""What a training step of a network asks for, from its shapes alone: memory a clip and operations; hours follow.

The child of a dry run works it out (it has torch), on the meta device where weights would not fit here.
"""

import torch
from torch import Tensor

from plastsearch.models.detector import HEAD_CUT, Detector
from plastsearch.preflight.forecast import Demand
from plastsearch.spec.config import TrialConfig
from plastsearch.trial.operations import backward_gflop

CLIPS = 2  # enough that nothing of size one is optimised away


def demand(config: TrialConfig, module: Detector) -> Demand:
    """Of a full training step, everything trainable: what `train` takes, and the most that any stage may."""
    device = next(module.parameters()).device
    wave_BT = torch.zeros(CLIPS, config.data.length_samples, device=device)
    module.train()
    pieces = _pieces(module, wave_BT)
    blocks = pieces[1:-1]
    kept = sum(saved for saved, _ in pieces)
    if config.train.checkpoint_layers:  # what enters each block, and all of one block at a time
        kept += sum(entering for _, entering in blocks) - sum(saved for saved, _ in blocks)
        kept += max((saved for saved, _ in blocks), default=0)
    gflop = backward_gflop(lambda: module(wave_BT)) / CLIPS
    # A forward pass is half of a backward pass that serves inputs and weights; recomputed layers are one more.
    passes = 2.0 if config.train.checkpoint_layers else 1.5
    return Demand(
        parameters=sum(one.numel() for one in module.parameters()), clip_bytes=kept // CLIPS, clip_gflop=passes * gflop
    )


def _pieces(module: Detector, wave_BT: Tensor) -> list[tuple[int, int]]:
    """Stem, each block, head: bytes that autograd keeps of it, and bytes that enter it."""
    cuts = module.cuts()
    found = [(_saved(module, lambda: module.prefix(wave_BT, cuts[0])), 0)]
    hidden = module.prefix(wave_BT, cuts[0]).detach()
    for number in range(len(cuts) - 1):
        entering = hidden.requires_grad_(True)
        kept: list[Tensor] = []

        def run(entering: Tensor = entering, number: int = number, kept: list[Tensor] = kept) -> None:
            kept.append(module.run(entering, number, number + 1))

        saved = _saved(module, run)
        # Of a head that reads every layer all states go on; the newest of them alone is new.
        states = entering.shape[1] if entering.dim() == 4 and kept[0].shape[1] == entering.shape[1] + 1 else 1
        found.append((saved, entering.untyped_storage().nbytes() // states))
        hidden = kept[0].detach()
    frames = module.frames(hidden).detach().requires_grad_(True)
    found.append((_saved(module, lambda: module.suffix(frames, HEAD_CUT)), 0))
    return found


def _saved(module: Detector, run: object) -> int:
    """Bytes that autograd keeps beside the weights, each storage once."""
    assert callable(run)
    seen: dict[int, int] = {}
    weights = {tensor.untyped_storage()._cdata for tensor in module.parameters()}
    alive: list[Tensor] = []  # so that no place in memory serves two of them

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()
    del out
    return sum(seen.values())
