"""Every control, whatever it is asked to judge: nothing is kept that raises the loss, and nothing is lost."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import revgn
from networks import classes, normal
from revgn.control import LineSearch, Ridge, TrustRegion
from revgn.losses import CrossEntropyLoss, MSELoss
from tables import CONTROLS, NEVER_RISES


def mlp(width=12, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 3)).to(
        dtype
    )


def network(kind, seed=0):
    if kind == "mlp":
        return mlp(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return revgn.RevMLP(4, 3, num_blocks=2, hidden_features=40, generator=generator, init_std=0.3).double()


def everything(model, optimizer):
    """Parameters, buffers, gradients and optimizer state, cloned."""
    momenta = {
        i: s["momentum_buffer"].clone() for i, s in enumerate(optimizer.state.values()) if "momentum_buffer" in s
    }
    tensors = [t.detach().clone() for t in (*model.parameters(), *model.buffers())]
    return tensors, [p.grad for p in model.parameters()], momenta


def same(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True))
    assert all(a is b for a, b in zip(first[1], second[1], strict=True))
    assert first[2].keys() == second[2].keys()
    assert all(torch.equal(first[2][i], second[2][i]) for i in first[2])


@pytest.mark.parametrize("right_inverse", ["reversible", "adjoint", "moore-penrose"])
@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("loss", ["squared", "cross-entropy", "exact cross-entropy"])
def test_report_says_what_happened(name, right_inverse, loss):
    if name.startswith("ridge") and right_inverse != "moore-penrose":
        pytest.skip("a ridge is one of the tangent kernel")
    model = network("revmlp")
    x = normal(10, 4)
    made, y = {
        "squared": (MSELoss(), normal(10, 3, seed=1)),
        "cross-entropy": (CrossEntropyLoss(), classes(10, 3)),
        "exact cross-entropy": (CrossEntropyLoss("exact", 0.1), classes(10, 3)),
    }[loss]
    optimizer = revgn.GaussNewton(model, made, right_inverse=right_inverse, control=CONTROLS[name])
    for _ in range(5):
        before = copy.deepcopy(model)
        start = everything(model, optimizer)
        report = optimizer.step(x, y)
        with torch.no_grad():
            old, new = float(made(before(x), y)), float(made(model(x), y))
        assert report.loss == pytest.approx(old, rel=1e-12)
        if not report.accepted:
            same(start, everything(model, optimizer))
            continue
        assert report.new_loss == pytest.approx(new, rel=1e-12, abs=1e-300)
        if name in NEVER_RISES:
            assert new < old
        # J times the displacement by an independent JVP of the model as it was.
        moved = {
            n: a.detach() - b.detach() for (n, a), b in zip(before.named_parameters(), model.parameters(), strict=True)
        }
        values = {n: p.detach() for n, p in before.named_parameters()}
        outputs, tangent = torch.func.jvp(
            lambda v, m=before: torch.func.functional_call(m, v, (x,)), (values,), (moved,)
        )
        predicted = float(made.mean(outputs - tangent, y))
        assert report.predicted_loss == pytest.approx(predicted, rel=1e-6, abs=1e-12 * old)
        if old - predicted > 1e-9 * old:
            assert report.gain_ratio == pytest.approx((old - new) / (old - predicted), rel=1e-5, abs=1e-6)


class Cliff(MSELoss):
    """Squared error that is not finite beyond a distance from where it began."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.calls = 0

    def value(self, outputs, targets):
        self.calls += 1
        value = super().value(outputs, targets)
        return torch.where(outputs.abs().amax() > self.most, torch.nan, value)


@pytest.mark.parametrize("name", ["line search", "trust region", "ridge of 0.1"])
def test_a_trial_that_is_not_finite_only_shortens(name):
    model, x = mlp(), normal(8, 4)
    optimizer = revgn.GaussNewton(model, Cliff(2.0), control=CONTROLS[name])
    report = optimizer.step(x, 50 * normal(8, 3, seed=1))
    assert report.accepted
    assert report.attempts > 1
    assert report.new_loss < report.loss


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", ["fixed", "line search", "trust region", "ridge by gcv"])
def test_rejection_restores_everything_to_the_bit(name, momentum):
    model, x, y = mlp(), normal(8, 4), normal(8, 3, seed=1)
    loss = Cliff(1e9)
    optimizer = revgn.GaussNewton(model, loss, lr=0.5, momentum=momentum, control=CONTROLS[name])
    optimizer.step(x, y)
    start = everything(model, optimizer)
    with torch.no_grad():
        loss.most = float(model(x).abs().max())  # the very next change of the largest output may already be too far
    y = 1e6 * model(x).detach().sign()  # every step leads outwards
    report = optimizer.step(x, y)
    assert report.status == "not finite"
    same(start, everything(model, optimizer))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.sampled_from(NEVER_RISES),
    st.sampled_from([1e-3, 0.1, 1.0, 5.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 40),
    st.booleans(),
)
def test_accepted_steps_never_raise_the_loss(seed, name, scale, dtype, rows, repeat):
    model = mlp(seed=seed % 97, dtype=dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
        model[0].weight[0] = 0.0  # a dead unit
    x, y = normal(rows, 4, seed=seed).to(dtype), normal(rows, 3, seed=seed + 1).to(dtype)
    if repeat:  # rows that contradict each other
        x = torch.cat((x, x))
        y = torch.cat((y, -y))
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose", control=CONTROLS[name])
    last = float("inf")
    for _ in range(6):
        report = optimizer.step(x, y)
        reached = report.new_loss if report.accepted else report.loss
        assert reached <= last
        last = reached


@pytest.mark.parametrize("right_inverse", ["adjoint", "moore-penrose"])
@pytest.mark.parametrize("lr", [3.0, 30.0])
def test_a_step_too_long_by_the_linear_model_is_damped_until_it_is_not(right_inverse, lr):
    model, x, y = network("revmlp"), normal(10, 4), normal(10, 3, seed=1)
    optimizer = revgn.GaussNewton(model, MSELoss(), lr, right_inverse=right_inverse, control=TrustRegion())
    reports = [optimizer.step(x, y) for _ in range(5)]
    assert reports[0].attempts > 1
    assert all(report.accepted for report in reports)
    assert reports[-1].new_loss < 0.8 * reports[0].loss


def test_full_steps_diverge_where_controlled_ones_do_not():
    x, y = normal(20, 4), 3 * normal(20, 3, seed=1)
    losses = {}
    for name in ("fixed", "trust region", "line search"):
        model = mlp(width=24, seed=3)
        optimizer = revgn.GaussNewton(model, MSELoss(), control=CONTROLS[name])
        losses[name] = [optimizer.step(x, y).new_loss for _ in range(8)]
    assert max(losses["fixed"]) > 10 * losses["fixed"][0] or losses["fixed"][0] > losses["trust region"][0] * 10
    for name in NEVER_RISES:
        assert all(b <= a for a, b in zip(losses[name], losses[name][1:], strict=False))
        assert losses[name][-1] < losses[name][0]


def test_cross_entropy_falls_ever_faster_by_doubling():
    model = mlp(width=60)
    x, y = normal(12, 4), classes(12, 3)
    optimizer = revgn.GaussNewton(model, CrossEntropyLoss(), control=LineSearch())
    reports = [optimizer.step(x, y) for _ in range(14)]
    assert reports[-1].new_loss < 1e-6
    assert max(report.length for report in reports) >= 4


def test_ridge_solves_the_penalised_problem():
    """One step on a model that is linear in its parameters is the ridge regression itself."""
    x, y = normal(15, 4), normal(15, 1, seed=1)
    model = nn.Linear(4, 1).double()
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose", control=Ridge(0.7))
    report = optimizer.step(x, y)
    design = torch.cat((x, torch.ones(15, 1, dtype=x.dtype)), 1)
    expected = torch.linalg.solve(design.mT @ design + 0.7 * torch.eye(5, dtype=x.dtype), design.mT @ y)
    torch.testing.assert_close(torch.cat((model.weight.T, model.bias.view(1, 1))), expected, rtol=1e-9, atol=1e-11)
    hat = design @ torch.linalg.solve(design.mT @ design + 0.7 * torch.eye(5, dtype=x.dtype), design.mT)
    assert report.effective_parameters == pytest.approx(float(hat.trace()), rel=1e-9)


@pytest.mark.parametrize("rule", ["gcv", "evidence"])
@pytest.mark.parametrize("columns", [4, 40])
def test_ridge_minimises_its_rule(rule, columns):
    """The chosen strength is the best of a fine grid by the textbook formula with the dense hat matrix."""
    x = normal(20, columns)
    y = x[:, :2].sum(1, keepdim=True) + 0.5 * normal(20, 1, seed=1)
    model = nn.Linear(columns, 1, bias=False).double()
    theta = model.weight.detach().clone()
    optimizer = revgn.GaussNewton(model, MSELoss(), right_inverse="moore-penrose", control=Ridge(rule))
    chosen = optimizer.step(x, y).ridge
    kernel = x @ x.mT
    assert theta.shape == (1, columns)

    def score(strength):
        inverse = torch.linalg.inv(kernel + strength * torch.eye(20, dtype=x.dtype))
        left = strength * inverse
        if rule == "gcv":
            free = 20 - 1.2 * (20 - left.trace())
            return float(20 * (left @ y).square().sum() / free**2) if free > 0 else float("inf")
        return float(20 * torch.log((y.mT @ left @ y).squeeze()) - torch.linalg.slogdet(left)[1])

    grid = torch.logspace(-6, 4, 101, dtype=torch.float64).tolist()
    assert score(chosen) <= min(map(score, grid)) + 1e-2 * abs(min(map(score, grid)))


@pytest.mark.parametrize("rule", ["gcv", "evidence"])
def test_a_chosen_ridge_falls_to_a_third_a_step_at_most(rule):
    x = normal(20, 4)
    optimizer = revgn.GaussNewton(
        nn.Linear(4, 1).double(), MSELoss(), right_inverse="moore-penrose", control=Ridge(rule)
    )
    noise = optimizer.step(x, normal(20, 1, seed=1)).ridge
    exact = [optimizer.step(x, x.sum(1, keepdim=True)).ridge for _ in range(3)]
    assert exact == pytest.approx([noise / 3, noise / 9, noise / 27], rel=1e-12)


@pytest.mark.parametrize("name", ["line search", "trust region"])
def test_memory_survives_saving_and_copies(name):
    x, y = normal(10, 4), normal(10, 3, seed=1)
    model = mlp()
    optimizer = revgn.GaussNewton(model, MSELoss(), control=CONTROLS[name])
    for _ in range(2):
        optimizer.step(x, y)
    twin = copy.deepcopy(model)
    other = revgn.GaussNewton(twin, MSELoss(), control=CONTROLS[name])
    other.load_state_dict(optimizer.state_dict())
    first, second = optimizer.step(x, y), other.step(x, y)
    assert (first.damping, first.length, first.new_loss) == (second.damping, second.length, second.new_loss)


def test_options_out_of_range_are_refused():
    for make in (
        lambda: TrustRegion(damping=0.0),
        lambda: TrustRegion(max_attempts=0),
        lambda: LineSearch(armijo=1.0),
        lambda: Ridge(-1.0),
        lambda: Ridge("gvc"),
    ):
        with pytest.raises(ValueError, match=r"must lie|gcv"):
            make()
    with pytest.raises(ValueError, match="moore-penrose"):
        revgn.GaussNewton(network("revmlp"), MSELoss(), control=Ridge())
    with pytest.raises(ValueError, match="no targets"):
        revgn.GaussNewton(mlp(), MSELoss()).step(normal(3, 4))
