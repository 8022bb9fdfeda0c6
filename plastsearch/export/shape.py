"""The shape of a network as plain data, layer by layer: what portable/ builds it from again, whatever grew where."""

from typing import Any

from torch import nn

from plastsearch.errors import PlastsearchError
from plastsearch.growth.blocks import AttentionBranch, FeedForwardBranch, ParallelRecurrent, Stacked
from plastsearch.growth.paths import is_grown
from plastsearch.models.catalog import ATTENTION_POOL_HIDDEN
from plastsearch.models.cnn import CNN
from plastsearch.models.detector import Detector
from plastsearch.models.frontend import FilterBank
from plastsearch.models.gru import GRNN
from plastsearch.models.heads.aasist import AASIST
from plastsearch.models.heads.back_end import BackEnd
from plastsearch.models.lcnn import LCNN, MAPS
from plastsearch.models.resnet18 import ResNet18
from plastsearch.models.wav2vec2 import ConformerEncoder, SpeechEncoder

Shape = dict[str, Any]


def shape_of(detector: Detector) -> Shape:
    """All widths of a folded network; stacked layers and parallel branches are described where they stand."""
    for kind, describe in (
        (GRNN, _grnn),
        (ResNet18, _resnet18),
        (CNN, _cnn),
        (LCNN, _lcnn),
        (ConformerEncoder, _conformer),
        (SpeechEncoder, _encoder),
    ):
        if isinstance(detector, kind):
            shape: Shape = describe(detector)
            _refuse_others(detector)
            return {**shape, "head": _head(detector)}
    raise PlastsearchError(f"{type(detector).__name__} cannot be exported: no file for others is written for it yet")


def _refuse_others(detector: Detector) -> None:
    for name, module in detector.named_modules():
        if is_grown(module) and not isinstance(module, Stacked | ParallelRecurrent):
            raise PlastsearchError(
                f"{name}: neurons grown beside a layer that also carries a stacked layer or a parallel branch cannot "
                "be folded, so that no ordinary network can be exported; export a trial that grew in one way alone"
            )


def _head(detector: Detector) -> Shape:
    inputs = int(detector.head.in_features)
    if isinstance(detector, SpeechEncoder) and isinstance(detector.pool, BackEnd):
        config = detector.backbone.config
        return {
            "kind": detector.judged.head, "mixed": detector.pool.mix is not None, "pooling": detector.pooling,
            "every_layer": detector.judged.every_layer, "features": config.hidden_size, "inputs": inputs,
            "states": len(detector.blocks()) + 1, "attention_hidden": ATTENTION_POOL_HIDDEN,
            "grown": _grown_head(detector.pool.net),
        }  # fmt: skip
    features = inputs // 2 if detector.pooling == "mean_std" else inputs
    return {
        "pooling": detector.pooling, "features": features, "inputs": inputs, "attention_hidden": ATTENTION_POOL_HIDDEN,
    }  # fmt: skip


def _grown_head(net: Any) -> Shape:
    """The widths of a head that may grow, by its keywords."""
    if not isinstance(net, AASIST):
        return {}
    blocks: list[Any] = list(net.blocks)
    return {
        "inner": [block.conv1.out_channels for block in blocks],
        "taps": [block.conv1.kernel_size[1] for block in blocks],
        "gate": net.attention[0].out_channels,
    }


def _front_end(front_end: Any) -> Shape:
    assert isinstance(front_end, FilterBank)
    shape = front_end.shape
    return {
        "kind": front_end.kind, "rate_hz": front_end.rate_hz, "n_fft": shape.n_fft, "window": shape.window,
        "hop": shape.hop, "bands": shape.bands, "n_out": shape.n_out, "normalise": front_end.normalise,
        "deltas": front_end.deltas,
    }  # fmt: skip


def _inside_out(module: Any) -> tuple[Any, list[Any]]:
    """The ordinary module and what stands around it, the innermost first."""
    around: list[Any] = []
    while isinstance(module, Stacked | ParallelRecurrent):
        around.insert(0, module)
        module = module.base
    if is_grown(module):
        raise PlastsearchError(f"a {type(module).__name__} could not be folded; export a trial that grew in one way")
    return module, around


def _grnn(detector: Any) -> Shape:
    layers = []
    for module in detector.gru:
        gru, around = _inside_out(module)
        told = [
            {"kind": "beside", "units": one.gru.hidden_size}
            if isinstance(one, ParallelRecurrent)
            else {"kind": "on_top", "units": one.branch.gru.hidden_size}
            for one in around
        ]
        layers.append(
            {"inputs": gru.input_size, "units": gru.hidden_size, "bidirectional": gru.bidirectional, "around": told}
        )
    spikes = detector.plain_config().get("spikes")
    return {"network": "grnn", "front_end": _front_end(detector.front_end), "spikes": spikes, "layers": layers}


def _resnet18(detector: Any) -> Shape:
    stages: dict[str, list[Shape]] = {}
    for name, module in detector.blocks():
        block, around = _inside_out(module)
        stages.setdefault(name.partition(".")[0], []).append(
            {
                "inputs": block.conv1.in_channels, "inner": block.conv1.out_channels,
                "outputs": block.conv2.out_channels, "stride": block.conv1.stride[0],
                "downsample": block.downsample is not None,
                "kernels": [block.conv1.kernel_size[0], block.conv2.kernel_size[0]],
                "around": [{"units": one.branch.row.enter.out_channels} for one in around],
            }
        )  # fmt: skip
    return {
        "network": "resnet18", "front_end": _front_end(detector.front_end), "stages": stages,
        "spikes": detector.plain_config().get("spikes"), "channels": detector.conv1.out_channels,
        "stem": detector.plain_config().get("stem", "quarter"),
    }  # fmt: skip


def _cnn(detector: Any) -> Shape:
    channels = [block.norm.num_features for _, block in detector.blocks()]
    kernels = [block.conv.kernel_size[0] for _, block in detector.blocks()]
    front_end = _front_end(detector.front_end)
    return {"network": "cnn", "front_end": front_end, "channels": channels, "kernels": kernels}


def _lcnn(detector: Any) -> Shape:
    layers = [
        {
            "inputs": block.conv.in_channels, "channels": block.conv.out_channels // MAPS,
            "kernel": block.conv.kernel_size[0], "halves": isinstance(block.act, nn.Sequential),
            "normed": block.norm is not None,
        }
        for block in detector.conv
    ]  # fmt: skip
    recurrent = [] if detector.lstm is None else [[one.input_size, one.hidden_size] for one in detector.lstm]
    front_end = _front_end(detector.front_end)
    return {"network": "lcnn", "front_end": front_end, "layers": layers, "recurrent": recurrent}


def _encoder(detector: Any) -> Shape:
    config = detector.backbone.config
    for name in ("feat_extract_activation", "hidden_act"):
        if getattr(config, name) != "gelu":
            raise PlastsearchError(f"an encoder whose {name} is {getattr(config, name)} cannot be exported, only gelu")
    if getattr(config, "adapter_attn_dim", None) is not None:
        raise PlastsearchError("an encoder with adapters inside its attention layers cannot be exported")
    biased = config.model_type == "wavlm"
    extractor = [layer.conv for layer in detector.backbone.feature_extractor.conv_layers]
    norms = [getattr(layer, "layer_norm", None) for layer in detector.backbone.feature_extractor.conv_layers]
    embed = detector.backbone.encoder.pos_conv_embed
    return {
        "network": "encoder",
        "family": config.model_type,
        "hidden": config.hidden_size,
        "eps": config.layer_norm_eps,
        "pre_norm": detector.final_norm_last,
        "normalize": detector.normalize,
        "projection_norm": isinstance(getattr(detector.backbone.feature_projection, "layer_norm", None), nn.LayerNorm),
        "bias_distance": config.max_bucket_distance if biased else None,
        "convolutions": [
            {
                "inputs": conv.in_channels, "outputs": conv.out_channels, "kernel": conv.kernel_size[0],
                "stride": conv.stride[0], "bias": conv.bias is not None,
                "norm": None if norm is None else "layer" if isinstance(norm, nn.LayerNorm) else "group",
            }
            for conv, norm in zip(extractor, norms, strict=True)
        ],
        "positions": {
            "kernel": embed.conv.kernel_size[0], "groups": embed.conv.groups,
            "batch_norm": getattr(embed, "batch_norm", None) is not None,
        },
        "layers": [_layer(module) for module in detector.backbone.encoder.layers],
    }  # fmt: skip


def _conformer(detector: Any) -> Shape:
    config = detector.backbone.config
    for name, known in (("hidden_act", "swish"), ("position_embeddings_type", "relative_key")):
        if getattr(config, name) != known:
            raise PlastsearchError(
                f"a W2V-BERT encoder whose {name} is {getattr(config, name)} cannot be exported, only {known}"
            )
    layers = []
    for module in detector.backbone.encoder.layers:
        layer, around = _inside_out(module)
        if around:
            raise PlastsearchError("layers stacked on W2V-BERT cannot be exported; export a trial that widened it")
        layers.append([part.intermediate_dense.out_features for part in (layer.ffn1, layer.ffn2)])
    return {
        "network": "conformer", "hidden": config.hidden_size, "eps": config.layer_norm_eps,
        "heads": config.num_attention_heads, "left": config.left_max_position_embeddings,
        "right": config.right_max_position_embeddings, "kernel": config.conv_depthwise_kernel_size, "layers": layers,
    }  # fmt: skip


def _layer(module: Any) -> Shape:
    layer, around = _inside_out(module)
    told: list[Shape] = []
    for one in around:
        branch = one.branch
        if isinstance(branch, FeedForwardBranch):
            row: Any = branch.row
            told.append({"kind": "units", "units": row.enter.out_features})
        else:
            assert isinstance(branch, AttentionBranch)
            told.append({"kind": "heads", "attention": _attention(branch.attention)})
    return {
        "attention": _attention(layer.attention),
        "units": layer.feed_forward.intermediate_dense.out_features,
        "around": told,
    }


def _attention(attention: Any) -> Shape:
    biased = hasattr(attention, "gru_rel_pos_const")
    bias = None
    if biased:
        owner = hasattr(attention, "rel_attn_embed")
        bias = {"owner": owner, "buckets": attention.num_buckets}
    return {
        "heads": attention.num_heads, "width": attention.head_dim, "scale": float(attention.scaling), "bias": bias,
        "out_bias": attention.out_proj.bias is not None,
    }  # fmt: skip
