"""How long backward takes when a network grows beside a frozen base, as a share of full fine-tuning.

    python benchmarks/backward.py                      all networks, on the CPU: one thread, its own CPU time
    python benchmarks/backward.py --device cuda        on a GPU: CUDA events

All variants take turns in one process (A B C A B C …); a figure is the median over rounds of variant / full in the
same round. `bound` is the share of floating-point operations, counted, that the variant has to do in backward.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from results import Table, write
from shapes import Forward, Grus, ResNet18, Speech
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.freeze import learn_only_, trainable


@dataclass
class Variant:
    """One way to train a network, and what its steps took."""

    name: str
    net: nn.Module
    forward: Forward
    x: Tensor
    goal: str = ""
    step_goal: str = ""
    backward_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    flops: float = 0.0
    saved_mb: float = 0.0
    optimizer: Any = None


def whole(net: nn.Module, x: Tensor) -> Tensor:
    """The network as it is."""
    out: Tensor = net(x)
    return out


def speech_variants(attention: str) -> Iterator[Variant]:
    """One head and 256 feed-forward units in layer k, against LoRA on the six linear layers of that layer."""
    torch.manual_seed(0)
    base, x = Speech(attention), torch.randn(2, 32_000)
    yield Variant("full fine-tuning", base, whole, x)
    goals = {0: ("0.28", "0.37"), 6: ("0.14", "0.18"), 11: ("0.025", "0.04")}
    for k, (goal, step_goal) in goals.items():
        grown = copy.deepcopy(base)
        counts = {f"encoder.{k}.attention": 64, f"encoder.{k}.ffn": 256}
        add_neurons_(grown, counts, mode="frozen", also=["fc"], generator=torch.Generator().manual_seed(k))
        layer = f"encoder.encoder.layers.{k}"
        names = ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj"]
        names += ["feed_forward.intermediate_dense", "feed_forward.output_dense"]
        yield Variant(f"dropin, layer {k}", grown, whole, x, goal)
        yield Variant(f"LoRA, layer {k}", lora(base, [f"{layer}.{name}" for name in names], size(grown)), whole, x)
        path, suffix = base.cut(k)
        yield Variant(f"dropin, layer {k}, cached prefix", grown, suffix, entering(grown, path, x), "", step_goal)


def resnet_variants() -> Iterator[Variant]:
    """A quarter more inner channels in one block, against LoRA on the block's two convolutions."""
    torch.manual_seed(0)
    base, x = ResNet18(), torch.randn(8, 3, 80, 200)
    yield Variant("full fine-tuning", base, whole, x)
    for site, number, goal, lora_goal in (("layer3.0", 4, "0.21", "0.22"), ("layer4.1", 7, "0.045", "0.075")):
        grown = copy.deepcopy(base)
        width = int(grown.get_submodule(site).conv1.out_channels)  # type: ignore[arg-type, union-attr]
        add_neurons_(grown, {site: width // 4}, mode="frozen", also=["fc"])
        yield Variant(f"dropin, {site}", grown, whole, x, goal)
        low = lora(base, [f"{site}.conv1", f"{site}.conv2"], size(grown))
        yield Variant(f"LoRA, {site}", low, whole, x, f"(study: {lora_goal})")
        cached = entering(grown, site, x)
        yield Variant(f"dropin, {site}, cached prefix", grown, lambda net, h, n=number: net.run(h, n), cached)


def gru_variants() -> Iterator[Variant]:
    """64 more units in layer k, which read the old ones one way."""
    torch.manual_seed(0)
    base, x = Grus(), torch.randn(16, 200, 80)
    yield Variant("full fine-tuning", base, whole, x)
    for k, goal in ((0, "0.56"), (1, "0.38"), (2, "0.13")):
        grown = copy.deepcopy(base)
        add_neurons_(grown, {f"gru.{k}": 64}, mode="frozen", also=["fc"])
        yield Variant(f"dropin, layer {k}, one-way", grown, whole, x, goal)
        cached = entering(grown, f"layers.{k}", x)
        yield Variant(f"dropin, layer {k}, cached prefix", grown, lambda net, h, k=k: net.run(h, k), cached)


def lora(base: nn.Module, targets: list[str], trainable_count: int) -> nn.Module:
    """PEFT's LoRA on some layers, the rank solved for a trainable count, the head learning as in a dropin."""
    from peft import LoraConfig, get_peft_model

    def made(rank: int) -> nn.Module:
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets)
        net: nn.Module = get_peft_model(copy.deepcopy(base), config)  # type: ignore[arg-type]
        head = [name for name, _ in net.named_parameters() if ".fc." in f".{name}"]
        learn_only_(net, [*head, *[name for name, _ in net.named_parameters() if "lora_" in name]])
        return net

    one, two = size(made(1)), size(made(2))
    return made(max(1, round((trainable_count - one) / (two - one)) + 1))


def size(net: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in trainable(net))


def entering(net: nn.Module, path: str, x: Tensor) -> Tensor:
    """What enters a module, computed once: the cached activations of the frozen prefix."""
    from plastsearch.growth.paths import outer

    seen: list[Tensor] = []
    handle = outer(net, path).register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    with torch.no_grad():
        net.train()(x)
    handle.remove()
    return seen[0]


class Clock:
    """Seconds since the last mark: CPU time of this thread, or time on the GPU."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        self.last: Any = None

    def mark(self) -> float:
        """Seconds since the mark before."""
        before = self.last
        if self.cuda:
            self.last = torch.cuda.Event(enable_timing=True)
            self.last.record()
            torch.cuda.synchronize()
            return 0.0 if before is None else float(before.elapsed_time(self.last)) / 1000
        self.last = time.thread_time()
        return 0.0 if before is None else float(self.last - before)


def step(variant: Variant, device: str) -> None:
    """One training step, timed by parts."""
    clock = Clock(device)
    labels = torch.arange(variant.x.shape[0], device=device) % 2
    clock.mark()
    loss = nn.functional.cross_entropy(variant.forward(variant.net, variant.x), labels)
    forward = clock.mark()
    loss.backward()
    backward = clock.mark()
    variant.optimizer.step()
    variant.optimizer.zero_grad()
    variant.backward_s.append(backward)
    variant.step_s.append(forward + backward + clock.mark())


def count(variant: Variant) -> None:
    """Counts the operations of one backward, and the bytes kept for it beside weights and inputs."""
    kept: dict[int, int] = {}
    known = {tensor.untyped_storage().data_ptr() for tensor in [*variant.net.parameters(), *variant.net.buffers()]}
    known.add(variant.x.untyped_storage().data_ptr())

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = variant.forward(variant.net, variant.x).square().sum()
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    variant.net.zero_grad()
    variant.flops, variant.saved_mb = float(counter.get_total_flops()), sum(kept.values()) / 2**20


def measure(variants: list[Variant], device: str, rounds: int) -> None:
    """Counts, warms up, then lets the variants take turns."""
    for variant in variants:
        variant.net.to(device).train()
        variant.x = variant.x.to(device)
        variant.optimizer = torch.optim.AdamW(trainable(variant.net), lr=1e-5)
        count(variant)
    for turn in range(rounds + 1):
        for variant in variants:
            step(variant, device)
        if turn == 0:  # warm-up
            for variant in variants:
                variant.backward_s.clear()
                variant.step_s.clear()


def ratio(values: list[float], reference: list[float]) -> float:
    """Median over rounds."""
    return statistics.median(value / other for value, other in zip(values, reference, strict=True))


COLUMNS = [
    ("variant", ""), ("trainable", ",.0f"), ("backward", ".3f"), ("goal", ""), ("FLOP bound", ".3f"),
    ("measured / bound", ".2f"), ("whole step", ".3f"), ("goal", ""), ("saved MB", ".1f"),
]  # fmt: skip


def table(variants: list[Variant], bounds: list[Variant]) -> Table:
    """One network's rows."""
    full, most = variants[0], bounds[0].flops
    rows = []
    for variant, counted in zip(variants, bounds, strict=True):
        backward, bound = ratio(variant.backward_s, full.backward_s), counted.flops / most
        whole_step = ratio(variant.step_s, full.step_s)
        goal = f"≤ {variant.goal}" if variant.goal and "(" not in variant.goal else variant.goal
        step_goal = f"≤ {variant.step_goal}" if variant.step_goal else ""
        rows.append([variant.name, size(variant.net), backward, goal, bound, backward / bound, whole_step, step_goal,
                     variant.saved_mb])  # fmt: skip
    return Table(COLUMNS, rows)


NETWORKS: dict[str, tuple[str, Callable[[], Iterator[Variant]], Callable[[], Iterator[Variant]]]] = {
    "wav2vec2": (
        "wav2vec2-base shape, 2 x 2 s; dropin of one head and 256 feed-forward units",
        lambda: speech_variants("sdpa"),
        lambda: speech_variants("eager"),  # the fused attention hides its matrix products from the counter
    ),
    "resnet18": ("ResNet18, 8 x 3 x 80 x 200; a quarter more inner channels", resnet_variants, resnet_variants),
    "gru": ("3 GRUs of 256 units, 16 x 200 x 80; dropin of 64 units", gru_variants, gru_variants),
}


def bounds_of(name: str) -> list[Variant]:
    """The same variants, counted on the CPU, where every matrix product is seen."""
    counted = []
    for variant in NETWORKS[name][2]():
        variant.net.train()
        count(variant)
        variant.net = nn.Module()
        counted.append(variant)
    return counted


def main() -> None:
    """Measures, prints, and writes if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name in chosen.networks:
        title, make, _ = NETWORKS[name]
        bounds = bounds_of(name)
        variants = list(make())
        measure(variants, chosen.device, chosen.rounds)
        found = table(variants, bounds)
        seconds = statistics.median(variants[0].backward_s), statistics.median(variants[0].step_s)
        print(f"\n### {title}\n\n{found.markdown()}\n", flush=True)
        print(f"Full fine-tuning: backward {1000 * seconds[0]:.0f} ms, step {1000 * seconds[1]:.0f} ms.", flush=True)
        if chosen.device == "cpu":
            write("backward", {name: found})
        else:
            write("backward_cuda", {name: found}, device=torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
