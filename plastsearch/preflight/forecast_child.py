"""A short-lived child of `--dry-run`: parameters on the meta device, and how long one training step takes here.

Reads one JSON request on standard input and writes one JSON answer; the parent never imports torch.
"""

import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from plastsearch.errors import PlastsearchError, out_of_memory
from plastsearch.growth.kernels.grow import rings_wanted
from plastsearch.growth.kernels.rings import ring_taps
from plastsearch.growth.paths import at
from plastsearch.growth.site import Site
from plastsearch.growth.survey import find_sites
from plastsearch.models.build import build, from_config
from plastsearch.models.detector import HEAD_CUT, Detector
from plastsearch.models.widths import SitesUnknownError, widths_of
from plastsearch.preflight.demand import demand
from plastsearch.preflight.forecast import NO_ROOM, Activations, ForecastAnswer, ForecastRequest, Parameters
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.methods import METHODS
from plastsearch.spec.model import ModelConfig
from plastsearch.store.prefix import PrefixCache
from plastsearch.trial.networks import LAST_K

MOST_TIMED = 100_000_000  # parameters; larger networks are not built with real weights for a forecast
FOR_GPUS = 5_000_000  # parameters; of larger networks it is told what they need of a GPU
PATIENCE_S, FEW = 3.0, 2  # a step longer than that is estimated from so many clips
Networks = dict[str, tuple[Detector, dict[str, Site]]]


def ring_parameters(module: nn.Module, kernels: Mapping[str, int]) -> int:
    """Parameters that rings around the kernels of some sites have."""
    before, after = rings_wanted(module, kernels)
    filters = {path: at(module, path).weight[..., *[0] * len(kernel)].numel() for path, kernel in after.items()}
    return sum(filters[path] * ring_taps(before[path], kernel) for path, kernel in after.items())


def grown_parameters(module: nn.Module, sites: Mapping[str, Site], growth: Mapping[str, int], *, apart: bool) -> int:
    """Parameters of a network with wider sites, from the shapes its unit maps imply.

    `apart`: new recurrent units stand beside the old ones, which do not read them (frozen, lateral into_new).
    """
    shapes = {name: list(one.shape) for name, one in module.named_parameters()}
    extra: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    unread = 0
    for name, neurons in growth.items():
        site = sites[name]
        units = neurons // site.step  # an attention site counts in widths, its unit map in heads
        heads = name.replace("head_width", "attention")
        # Wider heads are wider in the heads that the same growth adds, too.
        more = growth.get(heads, 0) // sites[heads].step if site.kind == "head_width" else 0
        for slot in site.slots:
            tensor = f"{slot.module}.{slot.tensor}" if slot.module else slot.tensor
            if tensor in shapes:
                extra[tensor][slot.dim] += units * (slot.gates + more) * slot.width
            if apart and slot.tensor.startswith("weight_hh") and slot.role == "recurrent":
                # Three gates of old units do not read the new ones, nor the candidate gate of new units the old ones.
                unread += 4 * (shapes[tensor][0] // 3) * units if tensor in shapes else 0
    wider = (
        math.prod(size + extra[name][dim] if name in extra else size for dim, size in enumerate(shape))
        for name, shape in shapes.items()
    )
    return sum(wider) - unread


def _untrained(model: ModelConfig, rate_hz: int) -> Detector:
    """The network of that shape with random weights, also where its weights lie elsewhere."""
    if model.name == "wav2vec2" and model.from_ is not None:
        with suppress(SitesUnknownError):  # a hub name that nobody knows: the preset has to do
            return from_config({**widths_of(model), "dropout": model.dropout, "rate_hz": rate_hz})
    return build(rate_hz=rate_hz, **model.model_dump(exclude={"from_"}))


def _unfilled(config: TrialConfig) -> Detector:
    """The network without memory for its weights; spectral front ends compute their filters, so they get some."""
    with torch.device("meta" if config.model.name == "wav2vec2" else "cpu"):
        return _untrained(config.model, config.data.rate_hz)


def _step_seconds(config: TrialConfig) -> float:
    """The median of three full training steps; where those take long, two clips' share of one speaks for the rest."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = _untrained(config.model, config.data.rate_hz).to(device)
    optimizer = torch.optim.AdamW(module.parameters())

    # Silence will do: a step takes as long on zeros, and no corpus need be here.
    def timed(clips: int, accumulate: int) -> float:
        wave_BT = torch.zeros(clips, config.data.length_samples, device=device)
        start = time.perf_counter()
        for _ in range(accumulate):
            module(wave_BT).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    batch = config.train.batch_size
    accumulate = config.train.accumulate
    few = min(FEW, batch)
    # The second of two, for the first allocates and, on a GPU, chooses kernels. Four full steps of the base preset
    # take minutes on a CPU; with this estimate a whole dry run takes 14 s.
    whole = [timed(few, 1) for _ in range(2)][1] * batch / few
    if whole > PATIENCE_S:
        return whole
    return statistics.median([timed(batch // accumulate, accumulate) for _ in range(4)][1:])


def cut_of(config: TrialConfig, module: Detector) -> str | None:
    """The cut below which nothing learns after `train`, so that activations can be kept; None if all learns."""
    # As the trial does it (trial/cached_prefix.py); test_forecast.py compares the two byte for byte.
    blocks = module.layers()
    match config.method:
        case "dropin" | "plasticity" | "stack" | "adaptive" if config.regime == "frozen" and config.growth():
            return module.cut_below(list(config.growth()))
        case "lora_growth" | "adalora" if config.growth():
            return module.cut_below(list(config.growth()))
        case "lora" if config.lora_on == "sites" and (config.layers or config.growth()):
            return module.cut_below(list(config.growth() or config.layers))
        case "lora":
            return blocks[0][0]
        case "last_k":
            return blocks[-(config.last_k or LAST_K) :][0][0]
    return None


def item_bytes(config: TrialConfig, module: Detector) -> dict[str, int]:
    """What one clip's activations take at every cut, in float32."""
    # Also on the meta device: shapes flow through a network that has no weights, and cost nothing.
    device = next(module.parameters()).device
    with torch.inference_mode():
        hidden = module.eval().stem(torch.zeros(1, config.data.length_samples, device=device))
        sizes = {}
        for number, (name, _) in enumerate(module.blocks()):
            sizes[name] = 4 * hidden.numel()
            hidden = module.run(hidden, number, number + 1)
        return {**sizes, HEAD_CUT: 4 * module.frames(hidden).numel()}


def _kept(request: ForecastRequest, cache: Path, networks: Networks) -> Activations:
    first = request.configs[0]
    module = networks[first.model.model_dump_json()][0]
    # Of the first network alone: a space that searches networks or corpora would need a forecast for each of them.
    alike = [config for config in request.configs if _same(config, first)]
    cuts = {cut_of(config, networks[config.model.model_dump_json()][0]) for config in alike}
    bf16 = first.train.precision == "bf16" or (first.train.precision == "auto" and torch.cuda.is_available())
    bf16 = bf16 and not any(isinstance(part, nn.RNNBase) for part in module.modules())  # these stay in float32
    most = None if request.cache_max_gb is None else request.cache_max_gb * 1e9
    budget = PrefixCache(cache / "prefix", most).allowed()
    sizes = item_bytes(first, module)
    return Activations(bytes={cut: sizes[cut] for cut in module.cuts() if cut in cuts}, half=bf16, budget=budget)


def _same(config: TrialConfig, first: TrialConfig) -> bool:
    return config.model == first.model and config.data == first.data


def answer(request: ForecastRequest) -> ForecastAnswer:
    """Count every configuration; time the first one's network if asked."""
    networks: Networks = {}
    counts: list[Parameters | None] = []
    for config in request.configs:
        key = config.model.model_dump_json()
        if key not in networks:
            module = _unfilled(config)
            networks[key] = module, find_sites(module)
        counts.append(_counted(config, *networks[key]))
    first = next(iter(networks.values()), None)
    size = 0 if first is None else sum(one.numel() for one in first[0].parameters())
    small = first is not None and size <= MOST_TIMED
    return ForecastAnswer(
        counts=tuple(counts),
        demand=demand(request.configs[0], first[0]) if first is not None and size > FOR_GPUS else None,
        step_s=_step_seconds(request.configs[0]) if request.time and small else None,
        device="cuda" if torch.cuda.is_available() else "cpu",
        kept=_kept(request, request.cache, networks) if request.cache is not None and request.configs else None,
    )


def _counted(config: TrialConfig, module: Detector, sites: dict[str, Site]) -> Parameters | None:
    """Parameters before and after growth; None where shapes alone do not tell: layers come or go, sites are sought."""
    facts = METHODS[config.method]
    if facts.operator(config) == "stack" or facts.truncates:
        return None
    apart = config.regime == "frozen" and config.lateral == "into_new"
    base = sum(one.numel() for one in module.parameters())
    growth = config.growth() if facts.placed else {}
    if config.rings():
        return Parameters(params_baseline=base, params_total=base + ring_parameters(module, growth))
    total = grown_parameters(module, sites, growth, apart=apart)
    if facts.seeks:
        # Known beforehand only where a neuron costs the same at every candidate: then wherever they all go.
        every = sum(growth.values())
        alone = [grown_parameters(module, sites, {name: every}, apart=apart) for name in growth]
        if any(one != total for one in alone):
            return None
    return Parameters(params_baseline=base, params_total=max(base, total))


def main() -> None:
    """Answer on standard output; a user's mistake as an answer that says it."""
    torch.set_num_threads(1)
    try:
        result = answer(ForecastRequest.model_validate_json(sys.stdin.read()))
    except PlastsearchError as error:
        result = ForecastAnswer(error=str(error))
    except Exception as error:
        if not out_of_memory(error):
            raise
        result = ForecastAnswer(error=NO_ROOM)
    sys.stdout.write(result.model_dump_json())


if __name__ == "__main__":
    main()
