"""Residuals of one's own: whose rows depend on each other, and that are derivatives."""

import torch
from torch import nn

import revgn

TIMES = torch.linspace(0, 2, 20, dtype=torch.float64)


class Growth(nn.Module):
    """dx/dt = rate x by Euler's method: each row comes from the one before, none from a later one."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def forward(self, times):
        state = [torch.ones_like(times[0]) + 0 * self.rate]
        for h in times.diff():
            state.append(state[-1] * (1 + h * self.rate))
        return torch.stack(state)


def test_a_solution_in_time_is_differentiated_as_a_whole():
    # Its first rows are the same without the later ones: only rows that are tried alone tell.
    model = Growth()
    with torch.no_grad():
        model.rate.fill_(0.7)
        seen = model(TIMES)
        model.rate.fill_(0.2)
    fit = revgn.fit(model, residuals=lambda model, batch: model(batch[0]) - batch[1], inputs=(TIMES, seen))
    assert fit.converged
    assert abs(model.rate.item() - 0.7) < 1e-8


def test_residuals_may_take_derivatives_by_torch_func_jvp():
    # u' = -u with u(0) = 1: torch's dual numbers, by which steps are certified, do not nest with those of torch.func.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1)).double()

    def residuals(model, t):
        u, change = torch.func.jvp(model, (t,), (torch.ones_like(t),))
        return torch.where(t == 0, u - 1, u + change)

    optimizer = revgn.LevenbergMarquardt(model, residuals=residuals)
    t = torch.linspace(0, 1, 15, dtype=torch.float64).unsqueeze(1)
    for _ in range(15):
        optimizer.step(t)
    with torch.no_grad():
        assert (model(t) - torch.exp(-t)).abs().max() < 1e-3
