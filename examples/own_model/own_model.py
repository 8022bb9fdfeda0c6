"""A network with a block of its own declares a site, grows there, learns, and is cut back to its size."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plastsearch.growth import add_neurons_, declare_, find_sites, fold, shrink_, trainable
from plastsearch.growth.site import ffn


class Mixer(nn.Module):
    """Mixes the features of each frame, beside what came in."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Linear(width, inner)
        self.bend = nn.SiLU()
        self.gather = nn.Linear(inner, width)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        return frames_BTD + self.gather(self.bend(self.spread(self.norm(frames_BTD))))


class Detector(nn.Module):
    """Frames in, two logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.mixers = nn.Sequential(Mixer(20, 24), Mixer(20, 24))
        self.head = nn.Linear(20, 2)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        return self.head(self.mixers(frames_BTD).mean(1))


def sites(net: nn.Module) -> list:
    """One site for each mixer: the units between its two linear layers."""
    return [
        ffn(net, f"mixer.{i}", f"mixers.{i}.spread", f"mixers.{i}.gather", i, act=f"mixers.{i}.bend") for i in range(2)
    ]


def learn(net: nn.Module, clips: Tensor, labels: Tensor, steps: int) -> float:
    """Train what may learn; the loss at the end."""
    optimizer = torch.optim.AdamW(trainable(net), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(net(clips), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


if __name__ == "__main__":
    torch.manual_seed(0)
    clips, labels = torch.randn(64, 30, 20), torch.arange(64) % 2
    clips[labels == 1, :, :3] += 0.3  # what tells the classes apart
    net = Detector()
    declare_(net, sites)
    print("sites", {name: site.units for name, site in find_sites(net).items()})
    print(f"loss {learn(net, clips, labels, 20):.2f}")

    before = net(clips)
    dropin = add_neurons_(net, {"mixer.1": 8}, mode="frozen", also=["head"])
    print(f"after dropin the outputs moved by {(net(clips) - before).abs().max().item():.0e}")
    print(f"loss {learn(net, clips, labels, 20):.2f}")

    net = fold(net, clips[:2])
    print("wider by", find_sites(net)["mixer.1"].units - 24)
    gone = shrink_(
        net,
        {"mixer.1": 8},
        [(clips, labels)],
        lambda logits, wanted: cross_entropy(logits, wanted, reduction="none"),
        criterion="taylor",
        added=dropin.units,
    )
    print("removed units", gone["mixer.1"].tolist())
    Detector().load_state_dict(net.state_dict())  # an ordinary network of its first size
