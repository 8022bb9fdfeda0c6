"""The three networks at the sizes they are timed at, written as other people write them."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Forward = Callable[[nn.Module, Tensor], Tensor]


class Speech(nn.Module):
    """A wav2vec2-base-shaped encoder, mean over time, a linear head."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        off = {f"{where}_dropout": 0.0 for where in ("hidden", "attention", "activation", "feat_proj", "final")}
        config = Wav2Vec2Config(layerdrop=0.0, mask_time_prob=0.0, attn_implementation=attention, **off)
        self.encoder, self.fc = Wav2Vec2Model(config), nn.Linear(768, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.encoder(x).last_hidden_state.mean(1))
        return out

    def cut(self, k: int) -> tuple[str, Forward]:
        """Where the activations below layer k can be read, and how to go on from them."""

        def suffix(net: Any, hidden: Tensor) -> Tensor:
            for layer in net.encoder.encoder.layers[k:]:
                hidden = layer(hidden)
            out: Tensor = net.fc(hidden.mean(1))
            return out

        return f"encoder.encoder.layers.{k}", suffix


class Block(nn.Module):
    """A ResNet basic block."""

    def __init__(self, size: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size, width, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or size != width:
            self.downsample = nn.Sequential(nn.Conv2d(size, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + identity)
        return out


class ResNet18(nn.Module):
    """ResNet18 in its usual shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        widths = (64, 64, 128, 256, 512)
        for stage in range(1, 5):
            first = Block(widths[stage - 1], widths[stage], 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, Block(widths[stage], widths[stage], 1)))
        self.fc = nn.Linear(512, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.stem(x), 0)

    def run(self, hidden: Tensor, first: int) -> Tensor:
        """The blocks from number `first` on, and the head."""
        for block in [block for s in range(1, 5) for block in getattr(self, f"layer{s}")][first:]:
            hidden = block(hidden)
        out: Tensor = self.fc(hidden.mean((2, 3)))
        return out


class Grus(nn.Module):
    """A stack of GRUs, mean over time, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.GRU(size, 256, batch_first=True) for size in (80, 256, 256))
        self.fc = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, 0)

    def run(self, x: Tensor, first: int) -> Tensor:
        """The layers from number `first` on, and the head."""
        for layer in self.layers[first:]:
            x, _ = layer(x)
        out: Tensor = self.fc(x.mean(1))
        return out
