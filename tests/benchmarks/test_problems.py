"""What the benchmarks compare: the same network for all, autograd at its best, solvers against float64."""

import pytest
import torch
from torch.nn import functional

import problems
import solvers
import step
import theory
from measure import counted
from revgn.losses import CrossEntropyLoss, MSELoss

SIZES = {"in_features": 30, "num_blocks": 3, "hidden_features": 90, "state_features": 40}


@pytest.mark.parametrize("first_activation", ["identity", "relu"])
def test_the_plain_rewriting_for_autograd_is_the_same_network_with_the_same_gradient(first_activation):
    problem = problems.random_problem(20, first_activation=first_activation, **SIZES)
    gradients = []
    for forward in (problem.model, problems.plain_forward(problem.model)):
        problem.model.zero_grad()
        outputs = forward(problem.inputs)
        functional.cross_entropy(outputs, problem.targets).backward()
        gradients.append([outputs.detach(), *(p.grad.clone() for p in problem.model.parameters())])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss", [MSELoss(), CrossEntropyLoss()])
def test_gradient_steps_follow_the_gradient_of_the_problems_own_loss(loss):
    problem = problems.random_problem(20, loss=loss, **SIZES)
    parameters = list(problem.model.parameters())
    expected = torch.autograd.grad(loss(problem.model(problem.inputs), problem.targets), parameters)
    problem.gradient(torch.optim.SGD(parameters, lr=0.0))()
    torch.testing.assert_close([p.grad for p in parameters], list(expected))


def test_theory_counts_autograds_products_to_the_last():
    problem = problems.random_problem(128, in_features=256, num_blocks=3, hidden_features=512)
    sizes = theory.Sizes(128, 256, 512, 3)
    taken = counted(problem.gradient(torch.optim.SGD(problem.model.parameters(), lr=0.0))) / sizes.unit
    assert taken == pytest.approx(theory.gradient_step(sizes), abs=0.1)


def test_every_method_of_the_step_benchmark_takes_steps_on_one_network():
    problem = problems.random_problem(40, in_features=32, num_blocks=2, hidden_features=80)
    for name, take in step.steps(problem).items():
        before = [p.detach().clone() for p in problem.model.parameters()]
        take()
        moved = [not torch.equal(old, new) for old, new in zip(before, problem.model.parameters(), strict=True)]
        assert any(moved), name


def test_solvers_are_measured_against_what_they_are_to_compute(without_fashion_mnist):
    rows = solvers.compared(solvers.case(40, 120), solvers.SOLVERS, pairs=1)
    errors = {row["solver"]: row["error"] for row in rows}
    exact = ["SVD()", "SVD(rtol=1e-2)", "Eigh()", "Eigh(rtol=1e-2)", "Cholesky()", "QR()"]
    assert max(errors[name] for name in exact) <= 1e-4
    assert errors["Cholesky(damping=1e-3)"] >= 1e-3  # damped, and so another step
    truncated = next(row for row in rows if row["solver"] == "Randomized(rank=64)")
    assert truncated["rank"] == 40
