"""Widths first, then weights: a grown network comes back bit for bit, and goes on as if it had never been away."""

import copy
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import AdamW

from plastsearch.errors import GrowthError
from plastsearch.growth.checkpoint import GrowthPlan, load_grown_, plan_of, reshape_, save_grown
from plastsearch.growth.dropin import add_neurons_
from plastsearch.growth.folding import fold_
from plastsearch.growth.freeze import trainable
from plastsearch.growth.optimizer import load_state_
from plastsearch.growth.prune import remove_neurons_
from plastsearch.growth.survey import find_sites
from tests.exactness import close, same, train_alike_
from tests.growth.conftest import ONE_OF_EACH


@given(st.sampled_from(ONE_OF_EACH), st.data())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_save_load_continue_is_never_having_stopped(nets, tmp_path, name, data):
    """After any history of growth, folding and pruning; optimiser included: the same gradients give the same bits."""
    case = nets.build(name)
    sites = [s for s in find_sites(case.net) if not s.endswith("head_width")]
    draw = lambda: data.draw(st.lists(st.sampled_from(sites), min_size=1, max_size=2, unique=True))  # noqa: E731
    for mode in data.draw(st.lists(st.sampled_from(("frozen", "unfrozen", "prune")), max_size=3)):
        if mode == "prune":
            remove_neurons_(case.net, {site: torch.tensor([0]) for site in draw()})
        else:
            add_neurons_(case.net, {site: find_sites(case.net)[site].step for site in draw()}, mode=mode)
            fold_(case.net, case.x)
    last = data.draw(st.sampled_from(("frozen", "unfrozen", "stack")))
    optimizer = AdamW(case.net.parameters(), lr=1e-2)
    nets.train_(case, 1, optimizer)
    operator, mode = ("stack", "frozen") if last == "stack" else ("widen", last)
    if last == "stack":  # a row within nn.Sequential is no layer of its own
        sites = [name for name in sites if {"layer", "recurrent"} & set(find_sites(case.net)[name].parts)]
    steps = {site: 2 * find_sites(case.net)[site].step for site in draw()}
    lateral = data.draw(st.sampled_from(("into_new", "both")))
    add_neurons_(case.net, steps, mode=mode, operator=operator, lateral=lateral, optimizer=optimizer, also=["fc"])
    if mode == "frozen":
        optimizer = AdamW(trainable(case.net), lr=1e-2)
    nets.train_(case, 2, optimizer)
    case.net.train()
    folder = tmp_path / "grown"
    save_grown(case.net, folder)
    json.loads((folder / "growth.json").read_text())
    kept = copy.deepcopy(optimizer.state_dict())
    again = nets.build(name, seed=1)
    load_grown_(again.net, folder)
    same(again.net.state_dict(), case.net.state_dict())
    again.net.train()
    second = AdamW(trainable(again.net), lr=1e-2)
    load_state_(second, kept)
    loss = lambda net: nn.functional.cross_entropy(net(case.x), case.labels)  # noqa: E731
    train_alike_([(case.net, optimizer), (again.net, second)], loss)
    same(dict(again.net.named_parameters()), dict(case.net.named_parameters()))
    for buffer, other in zip(again.net.buffers(), case.net.buffers(), strict=True):
        close(buffer, other)


def test_a_plan_of_another_network_is_refused(nets, tmp_path):
    net = nets.build("gru").net
    add_neurons_(net, {"gru.1": 2})
    save_grown(net, tmp_path)
    with pytest.raises(GrowthError, match=r"of other layers: ResNet has no site 'gru\.0'"):
        load_grown_(nets.build("resnet").net, tmp_path)
    with pytest.raises(GrowthError, match="already holds grown blocks"):
        reshape_(net, plan_of(net))
    other = nets.gru(False, widths=(4, 6, 3))
    other.fc = torch.nn.Linear(6, 5)
    with pytest.raises(GrowthError, match=r"fc\.base\.weight has shape|fc\.weight has shape"):
        load_grown_(other.double(), tmp_path)
    with pytest.raises(GrowthError, match="format 7"):
        GrowthPlan.from_json(plan_of(nets.build("gru").net).to_json().replace('"format": 2', '"format": 7'))
