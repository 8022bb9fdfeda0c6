"""A network of one's own grows beside its frozen weights, learns, is folded and cut back to its size."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from plastsearch.growth import add_neurons_, find_sites, fold, shrink_, trainable


class Listener(nn.Module):
    """Frames in, two logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.GRU(20, 16, batch_first=True), nn.GRU(16, 16, batch_first=True)])
        self.head = nn.Linear(16, 2)

    def forward(self, frames_BTD: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            frames_BTD = layer(frames_BTD)[0]
        return self.head(frames_BTD.mean(1))


torch.manual_seed(0)
net, clips, labels = Listener(), torch.randn(32, 50, 20), torch.arange(32) % 2
before = net(clips)

dropin = add_neurons_(net, {"gru.1": 8}, mode="frozen", also=["head"])
print("sites", {name: site.units for name, site in find_sites(net).items()})
print("the function stays, off by", float((net(clips) - before).abs().max()))

optimizer = torch.optim.AdamW(trainable(net), lr=1e-2)
for _ in range(20):
    optimizer.zero_grad()
    cross_entropy(net(clips), labels).backward()
    optimizer.step()

net = fold(net, clips[:2])  # an ordinary network again, wider; the two clips show that it computes the same
loss = lambda logits, labels: cross_entropy(logits, labels, reduction="none")  # noqa: E731
gone = shrink_(net, {"gru.1": 8}, [(clips, labels)], loss, criterion="taylor", added=dropin.units)
print("removed units", gone["gru.1"].tolist())
Listener().load_state_dict(net.state_dict())  # its own size again
