"""Tiny networks built outside the package, as other people would build them, with an input each."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from plastsearch.growth.site import conv_pair, declare_, hidden

SPEECH = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    **{f"{where}_dropout": 0.0 for where in ("hidden", "attention", "activation", "feat_proj")},
}


class GruNet(nn.Module):
    """Plain nn.GRU layers in a list, mean and deviation over time, a linear head."""

    def __init__(self, bidirectional: bool, widths: tuple[int, ...] = (4, 6, 3)) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        sizes = [5, *[width * directions for width in widths[:-1]]]
        self.layers = nn.ModuleList(
            nn.GRU(size, width, batch_first=True, bidirectional=bidirectional)
            for size, width in zip(sizes, widths, strict=True)
        )
        self.fc = nn.Linear(2 * widths[-1] * directions, 2)

    def forward(self, x):
        for layer in self.layers:
            x, _ = layer(x)
        return self.fc(torch.cat([x.mean(1), x.std(1)], -1))


class Block(nn.Module):
    """A basic block as torchvision writes it."""

    def __init__(self, size: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        same = stride == 1 and size == width
        down = nn.Sequential(nn.Conv2d(size, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.downsample = None if same else down

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.layer1 = nn.Sequential(Block(4, 4, 1), Block(4, 4, 1))
        self.layer2 = nn.Sequential(Block(4, 6, 2), Block(6, 6, 1))
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


class RawBlock(nn.Module):
    """As RawNet2 has it: one dimension, norms first, a pooling behind the sum."""

    def __init__(self, size: int, width: int, first: bool) -> None:
        super().__init__()
        self.first = first
        if not first:
            self.bn1 = nn.BatchNorm1d(size)
        self.lrelu = nn.LeakyReLU(0.3)
        self.conv1 = nn.Conv1d(size, width, 3, padding=1)
        self.bn2 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)
        self.conv_downsample = nn.Conv1d(size, width, 1) if size != width else None
        self.mp = nn.MaxPool1d(2)

    def forward(self, x):
        identity = x if self.conv_downsample is None else self.conv_downsample(x)
        out = x if self.first else self.lrelu(self.bn1(x))
        out = self.conv2(self.lrelu(self.bn2(self.conv1(out))))
        return self.mp(out + identity)


class Squeeze(nn.Module):
    """As ECAPA has it: channels weighed by themselves, through two pointwise convolutions."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, inner, 1)
        self.relu = nn.ReLU()
        self.bn = nn.BatchNorm1d(inner)
        self.conv2 = nn.Conv1d(inner, channels, 1)

    def forward(self, x):
        return x * self.conv2(self.bn(self.relu(self.conv1(x.mean(-1, keepdim=True))))).sigmoid()


class RawNet(nn.Module):
    """Two blocks, squeeze and excitation, an LSTM behind a GRU, all layers of one level."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = nn.Sequential(RawBlock(2, 4, True))
        self.block1 = nn.Sequential(RawBlock(4, 6, False))
        self.squeeze = Squeeze(6, 4)
        self.lstm = nn.LSTM(6, 4, batch_first=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        out = self.squeeze(self.block1(self.block0(x)))
        return self.fc(self.lstm(out.transpose(1, 2))[0][:, -1])


class Res2Block(nn.Module):
    """As ECAPA has it: chunks that hear each other, then squeeze and excitation written as a sequence."""

    def __init__(self, channels: int, width: int, scale: int) -> None:
        super().__init__()
        self.width, self.nums = width, scale - 1
        self.conv1, self.bn1 = nn.Conv1d(channels, width * scale, 1), nn.BatchNorm1d(width * scale)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2, padding=2) for _ in range(self.nums))
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(self.nums))
        self.conv3, self.bn3 = nn.Conv1d(width * scale, channels, 1), nn.BatchNorm1d(channels)
        self.relu = nn.ReLU()
        # Smooth, where ECAPA has a ReLU: it sees one value of each clip, and three clips leave many a ReLU dead.
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Conv1d(channels, 4, 1), nn.SiLU(), nn.BatchNorm1d(4), nn.Conv1d(4, channels, 1),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        out = self.bn1(self.relu(self.conv1(x)))
        parts = torch.split(out, self.width, 1)
        for i in range(self.nums):
            heard = parts[i] if i == 0 else heard + parts[i]  # noqa: F821
            heard = self.bns[i](self.relu(self.convs[i](heard)))
            out = heard if i == 0 else torch.cat((out, heard), 1)
        out = self.bn3(self.relu(self.conv3(torch.cat((out, parts[self.nums]), 1))))
        return out * self.se(out) + x


class Ecapa(nn.Module):
    """Two blocks of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0, self.layer1 = Res2Block(6, 3, 2), Res2Block(6, 2, 4)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.layer1(self.layer0(x)).mean(-1))


class MaxFeatureMap(nn.Module):
    """The larger of two channels: one of the first half and one of the second."""

    def forward(self, x):
        return torch.maximum(*x.chunk(2, 1))


class LightCNN(nn.Module):
    """As an LCNN has it: maps in pairs of which the larger counts, norms behind that, poolings; then a BLSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2), MaxFeatureMap(), nn.MaxPool2d(2), nn.Conv2d(4, 12, 1), MaxFeatureMap(),
            nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3, padding=1), MaxFeatureMap(),
        )  # fmt: skip
        self.lstm = nn.LSTM(16, 5, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(10, 2)
        declare_(self, light_sites)

    def forward(self, x):
        maps = self.features(x)
        return self.fc(self.lstm(maps.permute(0, 3, 1, 2).flatten(2))[0].mean(1))


def light_sites(net: nn.Module):
    """What nobody could recognise: which channels compete, and what lies between the layers of a row."""
    at = "features.{}".format
    return [
        conv_pair(net, "conv.0", at(0), None, at(3), 0, act=at(1), dropout=at(2), maps=2),
        conv_pair(net, "conv.1", at(3), at(5), at(6), 1, act=at(4), maps=2, act_first=True),
        hidden(net, "lstm.0", "lstm", ["fc"], 2),
    ]


class LstmNet(nn.Module):
    """Plain nn.LSTM layers, as GruNet has its GRUs; the second one is a GRU that reads an LSTM."""

    def __init__(self, bidirectional: bool) -> None:
        super().__init__()
        d = 2 if bidirectional else 1
        kinds = (nn.LSTM, nn.GRU, nn.LSTM)
        self.layers = nn.ModuleList(
            kind(size, width, batch_first=True, bidirectional=bidirectional)
            for kind, size, width in zip(kinds, (5, 4 * d, 6 * d), (4, 6, 3), strict=True)
        )
        self.fc = nn.Linear(6 * d, 2)

    def forward(self, x):
        for layer in self.layers:
            x, _ = layer(x)
        return self.fc(torch.cat([x.mean(1), x.std(1)], -1))


class Speech(nn.Module):
    """A transformers encoder, mean over time, a linear head."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.fc = encoder, nn.Linear(16, 2)

    def forward(self, x, attention_mask=None):
        hidden = self.encoder(x, attention_mask=attention_mask).last_hidden_state
        return self.fc(hidden.mean(1))


def _speech(family, **changes):
    def make():
        import transformers

        config = getattr(transformers, f"{family}Config")(**{**SPEECH, **changes})
        return Speech(getattr(transformers, f"{family}Model")(config))

    return make


PRE_NORM = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
NETS = {
    "resnet": (ResNet, (3, 1, 8, 8)),
    "gru": (lambda: GruNet(False), (3, 7, 5)),
    "bigru": (lambda: GruNet(True), (3, 7, 5)),
    "lstm": (lambda: LstmNet(False), (3, 7, 5)),
    "bilstm": (lambda: LstmNet(True), (3, 7, 5)),
    "rawnet": (RawNet, (3, 2, 16)),
    "lcnn": (LightCNN, (3, 1, 8, 8)),
    "ecapa": (Ecapa, (3, 6, 16)),
    "wav2vec2": (_speech("Wav2Vec2"), (2, 600)),
    "wav2vec2_pre_norm": (_speech("Wav2Vec2", **PRE_NORM), (2, 600)),
    "wav2vec2_eager": (_speech("Wav2Vec2", attn_implementation="eager"), (2, 600)),
    "hubert": (_speech("Hubert"), (2, 600)),
    "wavlm": (_speech("WavLM"), (2, 600)),
}


ONE_OF_EACH = tuple(name for name in NETS if name != "wav2vec2_eager")  # attention of another kind changes no law


def build(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> SimpleNamespace:
    """A network with lively BatchNorm statistics, an input, and labels."""
    torch.manual_seed(seed)
    make, shape = NETS[name]
    net = make().to(dtype)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    x = torch.randn(shape, dtype=dtype)
    return SimpleNamespace(name=name, net=net.eval(), x=x, labels=torch.arange(shape[0]) % 2)


def stir_(net: nn.Module, seed: int = 5) -> None:
    """Gives whatever learns other values, as training would."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64).to(parameter))


def train_(case: SimpleNamespace, steps: int, optimizer: torch.optim.Optimizer) -> None:
    """Some steps on the case's one batch."""
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(case.net(case.x), case.labels).backward()
        optimizer.step()


@pytest.fixture(scope="session")
def nets() -> SimpleNamespace:
    """The names of all networks, and how to build and train them."""
    return SimpleNamespace(names=tuple(NETS), build=build, stir_=stir_, train_=train_, gru=GruNet, speech=Speech)
