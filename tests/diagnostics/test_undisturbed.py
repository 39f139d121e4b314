import pytest
import torch

from networks import normal
from revgn.diagnostics.side_effects import undisturbed

CPU = torch.device("cpu")


class Adapter(torch.nn.Module):
    """W + B A, folded into the frozen W by eval() and taken apart again by train(), as adapters are."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(normal(2, 5), requires_grad=False)
        self.a = torch.nn.Parameter(normal(1, 5, seed=1))
        self.b = torch.nn.Parameter(normal(2, 1, seed=2))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.w.data += (-1 if mode else 1) * self.b.data @ self.a.data
            self.merged = not mode
        return self

    def forward(self, inputs):
        return inputs @ (self.w if self.merged else self.w + self.b @ self.a).T


def test_a_module_that_acts_on_train_is_not_made_to_act():
    network, inputs = torch.nn.Sequential(Adapter()), normal(6, 5)
    weight, outputs = network[0].w.clone(), network(inputs)
    with undisturbed(network, CPU):
        assert not network[0].training
        assert torch.equal(network(inputs), outputs)
    assert network[0].training
    assert not network[0].merged
    assert torch.equal(network[0].w, weight)
    assert network(inputs).requires_grad


def test_a_module_that_is_merged_stays_so():
    network = Adapter().eval()
    weight = network.w.clone()
    with undisturbed(network, CPU):
        pass
    assert network.merged
    assert not network.training
    assert torch.equal(network.w, weight)


def test_every_mode_is_restored_even_after_an_error():
    network = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Dropout()))
    network[1].eval()
    network[1][0].train()
    with undisturbed(network, CPU):
        assert not any(module.training for module in network.modules())
        network[1].train()
    assert [module.training for module in network.modules()] == [True, True, False, True]
    with pytest.raises(RuntimeError, match="shape"), undisturbed(network, CPU):
        torch.nn.Linear(2, 3)(torch.ones(1, 3))
    assert [module.training for module in network.modules()] == [True, True, False, True]
