"""Scores per clip, however a network lays clips and frames out, against twins that run every clip alone.

A twin multiplies what leaves a row of neurons by a gate of ones; the gate's slope for one clip is that clip's share.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from plastsearch.errors import GrowthError
from plastsearch.growth.criteria import CRITERIA, bin_entropy, score
from plastsearch.growth.site import conv_pair, declare_
from plastsearch.growth.stack import unstack_
from plastsearch.growth.survey import find_sites

LENGTHS = (4, 7, 1, 9, 5, 7)


class FramesFirst(nn.Module):
    """Frames along the first axis, within the network or in its input as well; the head reads frames or their mean."""

    def __init__(self, turned: bool, per_frame: bool, batch_first: bool = False) -> None:
        super().__init__()
        self.turned, self.per_frame, self.axis = turned, per_frame, int(batch_first)
        self.layers = nn.ModuleList(
            nn.GRU(n, m, batch_first=batch_first, bidirectional=True) for n, m in ((3, 4), (8, 5))
        )
        self.fc = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1) if self.turned else x
        for layer in self.layers:
            x, _ = layer(x)
        return self.fc(x).mean(self.axis) if self.per_frame else self.fc(x.mean(self.axis))


class LastState(nn.Module):
    """The head reads the last state of a stack, alone, of both directions, or beside the frames."""

    def __init__(self, bidirectional: bool = False, frames: bool = False, batch_first: bool = True) -> None:
        super().__init__()
        self.frames, d = frames, 2 if bidirectional else 1
        self.rnn = nn.GRU(3, 4, 2, batch_first=batch_first, bidirectional=bidirectional)
        self.fc = nn.Linear(4 * d, 2)
        unstack_(self)

    def forward(self, x: Tensor) -> Tensor:
        y, h = self.rnn(x)
        last = torch.cat([h[-2], h[-1]], -1) if self.rnn.layers[0].bidirectional else h[-1]
        return self.fc(last * y.mean(1) if self.frames else last)


class Packed(nn.Module):
    """Clips of unlike lengths; the head reads the mean over frames, rows of the packed data, or the last state."""

    def __init__(self, head: str, bidirectional: bool = False) -> None:
        super().__init__()
        self.head, d = head, 2 if bidirectional else 1
        self.rnn = nn.GRU(3, 4, 2, bidirectional=bidirectional)
        self.fc = nn.Linear(4 * d, 2)
        unstack_(self)

    def forward(self, x: PackedSequence) -> Tensor:
        y, h = self.rnn(x)
        if self.head == "state":
            return self.fc(h[-1] if self.fc.in_features == h[-1].shape[-1] else torch.cat([h[-2], h[-1]], -1))
        if self.head == "rows":
            padded, lengths = pad_packed_sequence(y._replace(data=self.fc(y.data)), batch_first=True)
            return padded.sum(1) / lengths[:, None]
        padded, lengths = pad_packed_sequence(y, batch_first=True)
        return self.fc(padded.sum(1) / lengths[:, None])


class Twice(nn.Module):
    """One block used twice, the second time on what the first gave."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn, self.act = nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh()
        self.conv2, self.fc = nn.Conv2d(5, 2, 3, padding=1), nn.Linear(2, 2)
        nn.init.uniform_(self.bn.running_var, 0.5, 2)
        declare_(self, lambda net: [conv_pair(net, "site", "conv1", "bn", "conv2", 0, act="act")])

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + self.conv2(self.act(self.bn(self.conv1(x))))
        return self.fc(x.square().mean((2, 3)))


class Siamese(nn.Module):
    """One GRU for both halves of a clip; the head reads their means side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(3, 4, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        halves = [self.gru(half)[0].mean(1) for half in (x[:, :3], x[:, 3:])]
        return self.fc(torch.cat(halves, -1))


def padded(n: int) -> Tensor:
    return torch.randn(n, 7, 3)


def image(n: int) -> Tensor:
    return torch.randn(n, 2, 5, 4)


NETS = {
    "frames_first": (lambda: FramesFirst(False, False), lambda n: torch.randn(7, n, 3), 1),
    "frames_first_read_frame_by_frame": (lambda: FramesFirst(False, True), lambda n: torch.randn(7, n, 3), 1),
    "turned": (lambda: FramesFirst(True, True), padded, 0),
    "last_state": (LastState, padded, 0),
    "last_states": (lambda: LastState(bidirectional=True), padded, 0),
    "last_state_frames_first": (lambda: LastState(batch_first=False), lambda n: torch.randn(7, n, 3), 1),
    "state_and_frames": (lambda: LastState(bidirectional=True, frames=True), padded, 0),
    "packed": (lambda: Packed("mean"), None, 0),
    "packed_both_ways": (lambda: Packed("mean", True), None, 0),
    "packed_rows": (lambda: Packed("rows", True), None, 0),
    "packed_state": (lambda: Packed("state", True), None, 0),
    "twice": (Twice, image, 0),
    "siamese": (Siamese, padded, 0),
}
kinds = pytest.mark.parametrize("kind", NETS)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


def build(kind: str) -> tuple[nn.Module, list[tuple], list]:
    """A network, batches of unlike size (one has as many clips as frames), and each clip as an input of its own."""
    torch.manual_seed(0)
    make, draw, axis = NETS[kind]
    net = make().double().eval()
    batches, alone = [], []
    square = draw is not None and not getattr(net, "per_frame", False)
    for n in (len(LENGTHS), 7 if square else 3):
        labels = torch.randint(0, 2, (n,))
        if draw is None:
            lengths = torch.tensor(LENGTHS[:n])
            x = torch.randn(n, max(LENGTHS[:n]), 3).double()
            single = [pack_padded_sequence(x[i : i + 1, :k], [k], batch_first=True) for i, k in enumerate(lengths)]
            inputs = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        else:
            inputs = draw(n).double()
            single = [inputs.narrow(axis, i, 1) for i in range(n)]
        batches.append((inputs, labels))
        alone += list(zip(single, labels[:, None], strict=True))
    return net, batches, alone


def scores(net: nn.Module, batches: list, names: list[str]) -> dict[str, dict[str, Tensor]]:
    return score(net, list(find_sites(net)), names, batches, loss, torch.Generator().manual_seed(0))


class Watched:
    """One site of a network whose clips run one by one: gate slopes, activations, and what its reader gave."""

    def __init__(self, net: nn.Module, name: str, alone: list) -> None:
        site = find_sites(net)[name]
        self.units, recurrent = site.units, site.kind == "hidden"
        row = net.get_submodule(site.parts["recurrent"] if recurrent else site.parts["out"])
        self.path = site.parts["reads.0"] if recurrent else site.parts["out"]
        self.reader = net.get_submodule(self.path)
        self.slopes, self.clips, self.read = [], [], []
        for inputs, label in alone:
            gate = torch.ones(self.units, dtype=torch.float64, requires_grad=True)
            rows: list[Tensor] = []
            outs: list[Tensor] = []
            hooks = [row.register_forward_hook(self._gru(gate, rows)) if recurrent else
                     row.register_forward_pre_hook(self._conv(gate, rows))]  # fmt: skip
            hooks.append(self.reader.register_forward_hook(self._reader(outs)))
            (slope,) = torch.autograd.grad(loss(net(inputs), label).sum(), gate)
            for hook in hooks:
                hook.remove()
            self.slopes.append(slope)
            self.clips.append(rows)
            self.read.append(torch.cat(outs).mean(0))

    def _gru(self, gate, rows):
        def multiply(_, __, output):
            y, h = output
            value = y.data if isinstance(y, PackedSequence) else y
            d = value.shape[-1] // self.units
            rows.append(
                value.detach().reshape(-1, d, self.units).norm(dim=1) if d > 1 else value.detach().flatten(0, -2)
            )
            gated = value * gate.repeat(d)
            return (y._replace(data=gated) if isinstance(y, PackedSequence) else gated), h * gate

        return multiply

    def _conv(self, gate, rows):
        def multiply(_, args):
            rows.append(args[0].detach()[0].flatten(1).T)
            return (args[0] * gate[:, None, None],)

        return multiply

    def _reader(self, outs):
        def keep(_, __, output):
            value = output[0] if isinstance(output, tuple) and not isinstance(output, PackedSequence) else output
            value = value.data if isinstance(value, PackedSequence) else value
            value = value.movedim(1, -1) if value.dim() == 4 else value
            outs.append(value.detach().reshape(-1, value.shape[-1]))

        return keep

    def weights(self) -> Tensor:
        """Sum of |weights| from each unit to each output of the reader, [U, K]."""
        if isinstance(self.reader, nn.Conv2d):
            return self.reader.weight.abs().sum((2, 3)).T
        if isinstance(self.reader, nn.Linear):
            return self.reader.weight.abs().reshape(-1, self.reader.in_features // self.units, self.units).sum(1).T
        found = []
        for key in ("weight_ih_l0", "weight_ih_l0_reverse")[: 1 + self.reader.bidirectional]:
            columns = getattr(self.reader, key).abs().reshape(3, self.reader.hidden_size, -1, self.units).sum((0, 2))
            found.append(columns.T)
        return torch.cat(found, 1)


@kinds
def test_scores_equal_those_of_clips_that_run_alone(kind: str) -> None:
    net, batches, alone = build(kind)
    names = ["taylor", "fisher", "entropy", "entropy_shared", "variance", "hebbian", "co_activation"]
    found = scores(net, batches, names)
    for name in find_sites(net):
        twin = Watched(net, name, alone)
        slopes = torch.stack(twin.slopes)
        assert slopes.abs().max() > 1e-6
        torch.testing.assert_close(found["taylor"][name], slopes.abs().mean(0))
        torch.testing.assert_close(found["fisher"][name], slopes.square().mean(0))
        means = torch.stack([torch.cat(rows).mean(0) for rows in twin.clips])
        torch.testing.assert_close(found["entropy"][name], bin_entropy(means, shared=False))
        torch.testing.assert_close(found["entropy_shared"][name], bin_entropy(means, shared=True))
        everything = torch.cat([torch.cat(rows) for rows in twin.clips])
        torch.testing.assert_close(found["variance"][name], everything.std(0, correction=0).log())
        corr = torch.corrcoef(torch.cat([means.T, torch.stack(twin.read).T]))[: twin.units, twin.units :].abs()
        torch.testing.assert_close(found["hebbian"][name], (corr * twin.weights()).sum(1).detach())
        some = [
            rows[torch.linspace(0, len(rows) - 1, min(8, len(rows))).round().long()]
            for clip in twin.clips
            for rows in clip
        ]
        alike = torch.corrcoef(torch.cat(some).T).abs().fill_diagonal_(0)
        torch.testing.assert_close(found["co_activation"][name], 1 - alike.max(1).values)


@kinds
def test_weight_criteria_add_up_the_gradients_of_clips_that_run_alone(kind: str) -> None:
    net, batches, alone = build(kind)
    found = scores(net, batches, ["gradient_norm", "taylor_weight"])
    parameters = dict(net.named_parameters())
    for name, site in find_sites(net).items():
        signed, square, first = torch.zeros(site.units).double(), torch.zeros(site.units).double(), 0
        for _, labels in batches:
            net.zero_grad()
            for inputs, label in alone[first : first + len(labels)]:
                loss(net(inputs), label).sum().backward()
            first += len(labels)
            batch = torch.zeros(site.units).double()
            for j in range(site.units):
                own: dict[str, Tensor] = {}  # a unit's connection to itself is in a row and in a column, and one
                for slot in site.slots:
                    key = f"{slot.module}.{slot.tensor}"
                    tensor = parameters.get(key)
                    if tensor is None:
                        continue
                    index = torch.tensor([gate * site.units + j for gate in range(slot.gates)])
                    own.setdefault(key, torch.zeros_like(tensor, dtype=torch.bool)).index_fill_(slot.dim, index, True)
                    if slot.role in ("out", "recurrent"):
                        batch[j] += (tensor.grad * tensor.detach()).index_select(slot.dim, index).sum()
                square[j] += sum(parameters[key].grad[mask].square().sum() for key, mask in own.items()) / len(labels)
            signed += batch.abs()
        torch.testing.assert_close(found["taylor_weight"][name], signed / len(alone))
        torch.testing.assert_close(found["gradient_norm"][name], (square / len(alone)).sqrt())


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_first_scores_as_clips_first_by_every_criterion(per_frame: bool) -> None:
    torch.manual_seed(0)
    one, other = (FramesFirst(False, per_frame, batch_first).double().eval() for batch_first in (False, True))
    other.load_state_dict(one.state_dict())
    batches = [(torch.randn(7, n, 3).double(), torch.randint(0, 2, (n,))) for n in (5, 9)]
    names = [name for name in CRITERIA if name != "bn_gamma"]
    found = scores(one, batches, names)
    expected = scores(other, [(x.transpose(0, 1), labels) for x, labels in batches], names)
    for name in names:
        for site in find_sites(one):
            torch.testing.assert_close(found[name][site], expected[name][site], msg=f"{name} {site}")


def test_what_cannot_be_told_apart_is_refused() -> None:
    torch.manual_seed(0)
    net = FramesFirst(False, True).double().eval()
    square = [(torch.randn(5, 5, 3).double(), torch.zeros(5, dtype=torch.long))]
    with pytest.raises(
        GrowthError, match=r"site 'gru\.1': its frames come first, and with 5 clips of 5 frames nothing"
    ):
        scores(net, square, ["hebbian"])
    wrong = [(torch.randn(2, 7, 3).double(), torch.zeros(2, dtype=torch.long))]
    with pytest.raises(GrowthError, match=r"site 'gru\.0': layers\.0 saw 7 rows for 2 clips, .* batch_first"):
        scores(net, wrong, ["entropy"])

    class Frozen(Siamese):
        def forward(self, x):
            with torch.no_grad():
                y = self.gru(x)[0].mean(1)
            return self.fc(torch.cat([y, y], -1))

    with pytest.raises(GrowthError, match=r"site 'gru\.0' runs under torch\.no_grad within the network's forward"):
        scores(Frozen().double(), [(torch.randn(4, 7, 3).double(), torch.zeros(4, dtype=torch.long))], ["taylor"])


def test_a_site_that_a_batch_leaves_out_is_refused() -> None:
    class Sometimes(Siamese):
        def forward(self, x):
            return super().forward(x) if len(x) > 2 else self.fc.weight.new_zeros(len(x), 2)

    torch.manual_seed(0)
    net = Sometimes().double()
    batches = [(torch.randn(n, 7, 3).double(), torch.zeros(n, dtype=torch.long)) for n in (3, 2)]
    with pytest.raises(GrowthError, match=r"site 'gru\.0': its module gru did not run in the forward"):
        scores(net, batches, ["entropy"])


def test_a_constant_varies_by_nothing_and_a_large_mean_hides_no_variance() -> None:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.up, net.act, net.down = nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)
    net.double()
    with torch.no_grad():
        net.up.weight[:3], net.up.bias[:3] = 0, torch.tensor([0.0, 0.7, 0.1])
        net.up.weight[3] *= 1e-8
        net.up.bias[3] = 1.0
    from plastsearch.growth.site import ffn

    declare_(net, lambda net: [ffn(net, "site", "up", "down", 0, act="act")])
    x = [torch.randn(n, 199, 4).double() for n in (10, 33)]
    batches = [(part.flatten(0, 1), torch.zeros(len(part) * 199, dtype=torch.long)) for part in x]
    found = scores(net, batches, ["variance"])["variance"]["site"]
    assert found[0] == found[1] == found[2]
    rows = net.act(net.up(torch.cat([part for part, _ in batches])))[:, 3]
    centred = rows - rows[0]
    assert found[3].item() == pytest.approx(centred.std(correction=0).log().item(), rel=1e-6)
