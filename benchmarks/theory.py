"""What a step must cost: products counted by hand, for RevMLP with hidden features.

The unit is one product of n x d/2 by d/2 x h, 2 n h d/2 operations: see "Cost" in the theory of the method.
"""

from dataclasses import dataclass

from revgn.linear.features import TILE, split_rows
from revgn.optim import certificate as certified
from revgn.solvers.solver import PROBES

FORWARD = 2  # products of a half-coupling: into the features and out of them
PULL_BACK = 2  # the same for a tangent
BACKWARD = 3  # autograd's: by the weights, by the features, by the half
# Forward-mode autodiff's: of the half by V, of the features by the weight, and of the features by its change.
TANGENT = 3
REBUILD = 2  # a forward pass once more, where features are not kept
DOUBLE = 2  # a float64 operation takes as long as so many in float32


@dataclass(frozen=True)
class Sizes:
    """Rows n, width of the state d, features h, blocks L; whether the first block is the authors' linear one."""

    rows: int
    state: int
    hidden: int
    blocks: int
    linear_first: bool = True

    @property
    def unit(self) -> float:
        """Operations of one product."""
        return 2.0 * self.rows * self.hidden * self.state / 2

    @property
    def gram(self) -> float:
        """Products that the lower triangle of one Gram matrix is worth, formed in strips; n > h: in parameter space."""
        small, large = sorted((self.rows, self.hidden))
        entries = sum((strip.stop - strip.start) * strip.stop for strip in split_rows(small, TILE))
        return 2.0 * entries * large / self.unit

    @property
    def solve(self) -> float:
        """Products of one solve: the Gram matrix, and Phi^T times the dual solution."""
        return self.gram + 1

    @property
    def factor(self) -> float:
        """What factoring one Gram matrix in float64 is worth, in products; not among those that are counted."""
        return DOUBLE * min(self.rows, self.hidden) ** 3 / 3 / self.unit


def gradient_step(sizes: Sizes) -> float:
    """Forward and backward by autograd; the first half-coupling's inputs need no gradient, which saves two products."""
    return 2 * sizes.blocks * (FORWARD + BACKWARD) - 2


def gauss_newton_step(sizes: Sizes, *, solved: int, keep_features: bool = True, exact: bool = True) -> float:
    """Products of a step that solves the last `solved` blocks and needs nothing below them, its certificate included.

    Args:
        solved: blocks, counted from the last.
        keep_features: as of `GaussNewton`.
        exact: every f moves all that it is asked to; else what it moved is pushed through g again, three products.
    """
    forward = 2 * FORWARD * sizes.blocks
    # In the lowest block in use nothing is pulled back beyond g; the last f is solved for r alone.
    back = 2 * PULL_BACK * solved - PULL_BACK
    solve = 2 * sizes.solve * solved - 1
    again = 0 if exact else (PULL_BACK + 1) * solved
    rebuilt = 0 if keep_features else 2 * REBUILD * solved
    return forward + back + solve + again + rebuilt + certificate(sizes, solved=solved)


def certificate(sizes: Sizes, *, solved: int) -> float:
    """Products of the JVP through the model's own forward pass, on the rows that are certified.

    Blocks below the solved ones have no tangent, and the first half-coupling of the lowest one has none of its half.
    """
    tangents = 2 * TANGENT * solved - 2
    return (2 * FORWARD * sizes.blocks + tangents) * certified_rows(sizes) / sizes.rows


def certified_rows(sizes: Sizes) -> int:
    """How many rows a step is certified on, those that are looked at twice counted twice."""
    return (sizes.rows if sizes.rows <= certified.ALL else certified.ROWS) + min(certified.JITTERED, sizes.rows)


def moore_penrose_step(sizes: Sizes, *, outputs: int) -> float:
    """Products that a Moore-Penrose step cannot do without, by the tangent kernel of N = n d_out rows.

    Forward; a backward pass to the layers' outputs for each output; one triangle of the Hadamard products; N^3 / 3 to
    factor; the weights' changes. The certificate and J Delta on all rows are left out, as rounding asks for them only.
    """
    n, state, h, kernel_rows = sizes.rows, sizes.state, sizes.hidden, sizes.rows * outputs
    layers = 2 * sizes.blocks
    passes = outputs * (2 * PULL_BACK * sizes.blocks - PULL_BACK)
    # A layer that is linear in its inputs has the Gram matrix of those.
    widths = 2 * sizes.linear_first * state / 2 + (layers - 2 * sizes.linear_first) * h
    grams = (n**2 * widths + layers * kernel_rows**2 * state / 2) / sizes.unit
    return FORWARD * layers + passes + grams + kernel_rows**3 / 3 / sizes.unit + layers


def small_products(sizes: Sizes, *, solved: int, outputs: int) -> float:
    """What the products with a side of `outputs` or of as many columns as there are probes amount to, in products.

    Outputs and their direction through the readout, and their tangents where the step is certified; the last f solved
    for r and spread; the probes of every solution.
    """
    n, half, h = sizes.rows, sizes.state / 2, sizes.hidden
    readout = 2 * (2 * n + 3 * certified_rows(sizes)) * sizes.state * outputs
    last = 2 * outputs * (n * h + h * half + n * half)
    certificates = 2 * solved * 2 * PROBES * (n * h + h * half + n * half)
    return (readout + last + certificates) / sizes.unit


def step_seconds_shape(sizes: Sizes, *, solved: int, keep_features: bool = True) -> float:
    """What the time of an exact step is proportional to: its products and its factorisations, in operations."""
    products = gauss_newton_step(sizes, solved=solved, keep_features=keep_features)
    return sizes.unit * (products + 2 * sizes.factor * solved)
