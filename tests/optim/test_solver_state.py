"""Solvers that remember: the optimizer keeps, saves and restores what they know of each layer."""

import io

import torch

import revgn
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from revgn.solvers import RunningCurvature
from tables import SOLVERS, each

INPUTS, TARGETS = normal(20, 16).float(), normal(20, 3, seed=5).float()


def optimizer(seed=0):
    network = rev_mlp(dtype=torch.float32, seed=seed)
    return revgn.GaussNewton(network, MSELoss(), 0.5, solver=RunningCurvature(), block_weights="uniform", momentum=0.5)


def train(opt, steps):
    for _ in range(steps):
        opt.backward(INPUTS, TARGETS)
        opt.step()
    return [p.detach().clone() for p in opt.model.parameters()]


def test_each_layer_has_a_memory_of_its_own_beside_torchs():
    opt = optimizer()
    train(opt, 2)
    memories = [opt.state[p]["solver"] for name, p in opt.model.named_parameters() if name.endswith("weight")]
    assert len(memories) == 6
    assert len({float(memory["mean"].sum()) for memory in memories}) == 6
    assert all(memory["mean"].dtype == torch.float32 and memory["rows"].dtype == torch.float64 for memory in memories)
    assert "momentum_buffer" in opt.state[opt.model.blocks[0].f.linear.weight]


@each("case", SOLVERS)
def test_solvers_that_remember_have_memory_and_others_have_none(case):
    opt = revgn.GaussNewton(rev_mlp(), MSELoss(), solver=case.solver, block_weights="uniform")
    opt.backward(INPUTS.double(), TARGETS.double())
    assert any("solver" in state for state in opt.state.values()) == case.solver.remembers


def test_what_was_remembered_is_saved_and_restored_in_its_own_precision():
    straight = train(optimizer(), 6)
    first = optimizer()
    train(first, 3)
    stream = io.BytesIO()
    torch.save({"model": first.model.state_dict(), "optimizer": first.state_dict()}, stream)
    stream.seek(0)
    saved = torch.load(stream)
    second = optimizer(seed=9)
    second.model.load_state_dict(saved["model"])
    second.load_state_dict(saved["optimizer"])
    weights = [opt.model.blocks[1].g.linear.weight for opt in (first, second)]
    kept, restored = (opt.state[w]["solver"] for opt, w in zip((first, second), weights, strict=True))
    assert kept.keys() == restored.keys()
    for name, tensor in kept.items():
        assert restored[name].dtype == tensor.dtype  # torch would make all of them float32
        assert torch.equal(restored[name], tensor)
        assert restored[name] is not tensor
    for mine, its in zip(straight, train(second, 3), strict=True):
        assert torch.equal(mine, its)


def test_memory_makes_a_difference():
    """Else the others would prove nothing: a fresh solver takes another fourth step."""
    opt = optimizer()
    train(opt, 3)
    remembered = opt.direction(INPUTS, TARGETS)["blocks.2.g.linear.weight"]
    fresh = revgn.GaussNewton(opt.model, MSELoss(), solver=RunningCurvature(), block_weights="uniform")
    assert not torch.allclose(fresh.direction(INPUTS, TARGETS)["blocks.2.g.linear.weight"], remembered, rtol=1e-3)
