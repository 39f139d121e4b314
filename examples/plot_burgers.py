"""
Burgers' equation by its residuals
==================================

A network is trained to satisfy u_t + u u_x = nu u_xx on [-1, 1] x [0, 1], with u = -sin(pi x) at t = 0 and u = 0 at
x = -1 and 1. Levenberg-Marquardt begins where Adam ends, and gains digits on it.
"""

import itertools
import math
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

import revgn

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
# The short run, of seconds, has a viscosity fifteen times that of the usual benchmark, 0.01 / pi, fewer rows and a
# smaller network. REVGN_LONG_EXAMPLES=1 takes the long one: five times that of the benchmark, some ten minutes on
# one core.
LONG = "REVGN_LONG_EXAMPLES" in os.environ
VISCOSITY = (0.05 if LONG else 0.15) / math.pi

# %%
# The exact solution
# ------------------
# The Cole-Hopf transformation makes of Burgers' equation the heat equation, whose solution is a Gaussian integral:
# Gauss-Hermite quadrature gives it to rounding. The integrand's exponents are compared by softmax, as they are large.


def exact(points: Tensor, nodes: int = 200) -> Tensor:
    """The solution u at points (n, 2) of columns x, t."""
    z, weight = (torch.from_numpy(values) for values in np.polynomial.hermite.hermgauss(nodes))
    x, t = points[:, :1], points[:, 1:]
    y = x - (4 * VISCOSITY * t).sqrt() * z
    share = torch.softmax(weight.log() - torch.cos(math.pi * y) / (2 * math.pi * VISCOSITY), dim=1)
    return -(share * torch.sin(math.pi * y)).sum(1)


x_axis, t_axis = torch.linspace(-1, 1, 257), torch.linspace(0, 1, 51)
grid = torch.cartesian_prod(x_axis, t_axis)
solution = exact(grid)
print(f"reference: 100 and 200 nodes differ by {float((exact(grid, 100) - solution).abs().max()):.0e}")

# %%
# Rows
# ----
# Interior, initial and boundary points are one batch; a third column says which equation a row is for: 0 for the
# differential equation, 1 for the data. As u = -sin(pi x) at the boundary too, the data have one formula. A third of
# the interior points are drawn towards x = 0, where the shock will be.

INTERIOR, INITIAL, BOUNDARY = (2000, 129, 65) if LONG else (300, 41, 21)
DATA_WEIGHT = math.sqrt(10)  # residuals of the data are few, and small beside those of second derivatives

points = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(INTERIOR, dtype=torch.float64)
x, t = 2 * points[:, 0] - 1, points[:, 1]
near = slice(0, INTERIOR // 3)
x[near] = 0.02 * torch.sinh(x[near] * math.asinh(50))
initial, boundary = torch.linspace(-1, 1, INITIAL), torch.linspace(0, 1, BOUNDARY)


def rows_of(x: Tensor, t: Tensor, kind: float) -> Tensor:
    """Rows (n, 3) of columns x, t, kind."""
    x, t = torch.broadcast_tensors(x, t)
    return torch.stack([x, t, torch.full_like(x, kind)], dim=1)


zero, one = torch.zeros(()), torch.ones(())
rows = torch.cat([rows_of(x, t, 0), rows_of(initial, zero, 1), rows_of(-one, boundary, 1), rows_of(one, boundary, 1)])

# %%
# Residuals
# ---------
# Derivatives by the inputs are forward-mode, of all rows at once; `revgn` sees that each residual belongs to one row
# and takes the gradients by the parameters row by row, by vmap.


def residuals(model: nn.Module, rows: Tensor) -> Tensor:
    """What is left of the equation, or of the data, in each row, (n,)."""
    points, kind = rows[:, :2], rows[:, 2]
    along_x = torch.tensor([1.0, 0.0]).expand_as(points)
    along_t = torch.tensor([0.0, 1.0]).expand_as(points)

    def by_x(points: Tensor) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(model, (points,), (along_x,))

    (u, u_x), (_, u_xx) = torch.func.jvp(by_x, (points,), (along_x,))
    _, u_t = torch.func.jvp(model, (points,), (along_t,))
    equation = u_t + u * u_x - VISCOSITY * u_xx
    data = DATA_WEIGHT * (u + torch.sin(math.pi * points[:, :1]))
    return torch.where(kind == 0, equation.squeeze(1), data.squeeze(1))


def relative_error(model: nn.Module) -> float:
    """The relative L2 error on the grid, which training does not see."""
    with torch.no_grad():
        return float((model(grid).squeeze(1) - solution).norm() / solution.norm())


# %%
# Adam, then Levenberg-Marquardt
# ------------------------------
# The network has more parameters than there are rows: the equation is solved in sample space, where the kernel of all
# rows is smaller. The valley of such a loss is curved, and geodesic acceleration follows it. The long run passes an
# error of 1e-6 after some 140 steps, and ends at 3e-7.

WIDTH, ADAM_STEPS, STEPS = (30, 500, 170) if LONG else (16, 150, 40)
sizes = [2, WIDTH, WIDTH, WIDTH]
layers = [layer for p, q in itertools.pairwise(sizes) for layer in (nn.Linear(p, q), nn.Tanh())]
model = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
for module in model:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(rows)} rows")

history: list[tuple[float, float, float]] = []  # seconds, loss, relative error
begin = time.perf_counter()
adam = torch.optim.Adam(model.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, ADAM_STEPS)
for _ in range(ADAM_STEPS):
    adam.zero_grad()
    loss = 0.5 * residuals(model, rows).square().mean()
    loss.backward()
    adam.step()
    schedule.step()
    history.append((time.perf_counter() - begin, loss.item(), relative_error(model)))
adam_seconds = history[-1][0]
print(f"Adam: relative error {history[-1][2]:.1e} after {ADAM_STEPS} steps, {adam_seconds:.0f} s")


def follow(report: revgn.Report) -> None:
    """Note the error after a step, and print every tenth."""
    history.append((time.perf_counter() - begin, report.new_loss, relative_error(model)))
    steps = len(history) - ADAM_STEPS
    if steps % 10 == 0:
        seconds, loss, error = history[-1]
        print(f"  {steps:4} steps {seconds:6.1f} s  loss {loss:.1e}  damping {report.damping:.1e}  error {error:.2e}")


optimizer = revgn.LevenbergMarquardt(model, residuals=residuals, geodesic=True)
fit = revgn.fit(model, inputs=rows, optimizer=optimizer, max_steps=STEPS, callbacks=[follow])
print(fit)
print(f"a step: {fit.seconds / fit.steps:.2f} s")
print(f"relative error {relative_error(model):.1e} after {fit.steps} steps, {fit.seconds:.0f} s")

# %%
# The solution steepens to a shock at x = 0. The error is largest there.

with torch.no_grad():
    found = model(grid).view(len(x_axis), len(t_axis))
off = (found - solution.view_as(found)).abs()
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for picture, values, title in ((left, found, "u"), (middle, off.clamp_min(1e-12).log10(), "log10 of its error")):
    image = picture.pcolormesh(t_axis, x_axis, values, shading="gouraud", cmap="RdBu_r" if title == "u" else "viridis")
    picture.set(xlabel="t", ylabel="x", title=title)
    figure.colorbar(image, ax=picture)
seconds, _, errors = zip(*history, strict=True)
right.semilogy(seconds[:ADAM_STEPS], errors[:ADAM_STEPS], label="Adam")
right.semilogy(seconds[ADAM_STEPS - 1 :], errors[ADAM_STEPS - 1 :], label="Levenberg-Marquardt")
right.set(xlabel="seconds", title="relative error")
right.legend(frameon=False)
plt.show()
