"""Laws of short memory: what is begun again in parts gives what the whole would have given."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastsearch.errors import out_of_memory
from plastsearch.growth.collect import collect
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold
from plastsearch.growth.halving import Halving
from plastsearch.growth.initialise import Shares
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build

NEEDS: Any = frozenset(["means", "moments", "frames", "gates", "weights", "readers"])
SITES = {"grnn": "gru.1", "resnet18": "layer3.0", "wav2vec2": "encoder.1.ffn"}


def _refuse(module: nn.Module, most: int) -> Any:
    """As a GPU whose memory takes a forward pass of so many clips."""

    def look(_: Any, args: Any) -> None:
        if len(args[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB (pretended)")

    return module.register_forward_pre_hook(look)


def test_parts_are_doubled_until_they_fit_and_stay_so() -> None:
    tried: list[int] = []

    def work(parts: int) -> int:
        tried.append(parts)
        if parts < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return parts

    halving = Halving()
    assert [halving(work, 6), halving(work, 6)] == [4, 4]
    assert tried == [1, 2, 4, 4]


def test_one_clip_at_a_time_is_the_end_and_other_errors_are_not_memory() -> None:
    tried: list[int] = []

    def never(parts: int) -> None:
        tried.append(parts)
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="can't allocate"):
        Halving()(never, 5)
    assert tried == [1, 2, 4, 5]
    with pytest.raises(RuntimeError, match="shapes"):
        Halving()(lambda parts: (_ for _ in ()).throw(RuntimeError("shapes do not match")), 5)


@pytest.mark.parametrize("words", ["CUBLAS_STATUS_ALLOC_FAILED", "CUDA out of memory", "Cannot allocate memory"])
def test_the_words_for_it(words: str) -> None:
    assert out_of_memory(RuntimeError(f"error: {words} when calling"))
    assert not out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


class Block:
    """Memory that counts itself."""

    alive = 0

    def __init__(self) -> None:
        Block.alive += 1

    def __del__(self) -> None:
        Block.alive -= 1


def test_what_a_failed_attempt_held_is_free_before_the_next_begins() -> None:
    """The error's traceback holds the frames that allocated, so a new attempt inside its handler would fail, too."""
    seen: list[int] = []

    def work(parts: int) -> None:
        seen.append(Block.alive)
        held = Block()
        if parts < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        del held

    Halving()(work, 8)
    gc.collect()
    assert seen == [0, 0, 0]


def _batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    for clips in (8, 8, 3):
        yield torch.randn(clips, 6000, generator=generator), torch.arange(clips) % 2


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="none")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["forward", "loss"])
@pytest.mark.parametrize("name", list(SITES))
def test_calibration_in_parts_records_the_same(name: str, where: str) -> None:
    module = build(name, "tiny", seed=1)
    sites = {SITES[name]: find_sites(module)[SITES[name]]}
    whole = collect(module, sites, NEEDS, _batches(), _loss)[SITES[name]]
    calls: list[int] = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        calls.append(len(labels))
        if where == "loss" and (len(labels) > 4 or len(calls) == 3):  # in a later part, too
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return _loss(logits, labels)

    if where == "forward":
        _refuse(module, 3)
    parts = collect(module, sites, NEEDS, _batches(), loss)[SITES[name]]
    assert max(calls[3:]) <= 4
    assert (parts.clips, parts.positions) == (whole.clips, whole.positions) == (19, whole.positions)
    pairs = [(parts.clip_means(), whole.clip_means()), (torch.cat(parts.frames), torch.cat(whole.frames))]
    pairs += [(torch.cat(parts.readers[path]), torch.cat(whole.readers[path])) for path in whole.readers]
    for field in ("total", "square", "gate_abs", "gate_square", "weight_abs", "grad_square"):
        pairs.append((torch.as_tensor(getattr(parts, field)), torch.as_tensor(getattr(whole, field))))
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_gradmax_in_parts_steers_alike_and_grows_once() -> None:
    made = {}
    for most in (8, 3):
        module = build("wav2vec2", "tiny", seed=1).eval()
        wave_BT, labels = next(_batches())

        def shares(parts: int, module: Any = module, wave_BT: Tensor = wave_BT, labels: Tensor = labels) -> Any:
            for some, theirs in zip(wave_BT.chunk(parts), labels.chunk(parts), strict=True):
                yield nn.functional.cross_entropy(module(some), theirs) * (len(theirs) / len(labels))

        hook = _refuse(module, most)
        before = find_sites(module)["encoder.1.ffn"].units
        generator = torch.Generator().manual_seed(0)
        loss = Shares(shares, 8)
        add_neurons_(module, {"encoder.1.ffn": 4}, mode="unfrozen", init="gradmax", generator=generator, loss=loss)
        hook.remove()
        assert find_sites(module)["encoder.1.ffn"].units == before + 4
        made[most] = module.backbone.encoder.layers[1].feed_forward.output_dense.weight[:, -4:].detach()
    # Singular vectors have no sign of their own.
    cosine = torch.cosine_similarity(made[8], made[3], dim=0).abs()
    torch.testing.assert_close(cosine, torch.ones(4), rtol=0, atol=1e-3)


def _packed(module: nn.Module) -> bool:
    """Whether each recurrent layer's weights are those it last laid side by side."""
    return all(
        getattr(part, "packed_last", None) == [id(p) for p in part._flat_weights]
        for part in module.modules()
        if isinstance(part, nn.RNNBase)
    )


def test_recurrent_weights_are_packed_after_growth_fold_and_prune(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU cuDNN would copy them together, with a warning, at each call; on a CPU packing leaves no trace."""

    def note(self: nn.RNNBase) -> None:
        assert [id(p) for p in self._flat_weights] == [id(getattr(self, name)) for name in self._flat_weights_names]
        self.__dict__["packed_last"] = [id(p) for p in self._flat_weights]

    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", note)
    module = build("grnn", "tiny")
    assert _packed(module)
    for options in ({"mode": "frozen"}, {"mode": "frozen", "lateral": "both"}, {"mode": "unfrozen"}):
        add_neurons_(module, {"gru.1": 8}, **options)
        assert _packed(module)
        module = fold(module, verify=False)
        assert _packed(module)
    remove_neurons_(module, {"gru.1": [0, 3]})
    assert _packed(module)
    for operator in ("parallel", "stack"):
        grown = build("grnn", "tiny")
        add_neurons_(grown, {"gru.0": 8}, operator=operator)
        assert _packed(grown)
