"""Batches whose features are made a chunk of rows at a time."""

import re

import pytest
import torch

import revgn
from memory import PeakMemory
from networks import normal, rev_mlp
from revgn.losses import MSELoss
from revgn.solvers import Randomized
from tables import SOLVERS, each


@each("case", SOLVERS, lambda case: case.takes_chunks and case.pseudo_inverse and not case.same_as)
@pytest.mark.parametrize("keep_features", [True, False])
@pytest.mark.parametrize("first_activation", ["identity", "relu"])
@pytest.mark.parametrize(("rows", "chunk_rows"), [(40, 16), (40, 1), (40, 64), (150, 32)])
def test_streamed_step_is_the_step(rows, chunk_rows, first_activation, keep_features, case):
    network = rev_mlp(48, 3, hidden_features=100, activation="relu", first_activation=first_activation)
    inputs, targets = normal(rows, 48), normal(rows, 3, seed=1)
    options = {"solver": case.solver, "block_weights": "uniform", "keep_features": keep_features}
    whole = revgn.GaussNewton(network, MSELoss(), **options).direction(inputs, targets)
    streamed = revgn.GaussNewton(network, MSELoss(), chunk_rows=chunk_rows, **options).direction(inputs, targets)
    for name, step in whole.items():
        assert torch.linalg.norm(streamed[name] - step) <= 1e-6 * torch.linalg.norm(step)


@each("case", SOLVERS, lambda case: case.takes_chunks and case.pseudo_inverse and not case.same_as)
@pytest.mark.parametrize("rows", [256, pytest.param(1024, marks=pytest.mark.nightly)])
def test_nothing_larger_than_a_chunk_by_h_is_held(rows, case):
    """Gram matrices are n x n, and the directions that Randomized keeps are not features."""
    h, chunk = 4096, 32
    network = rev_mlp(32, 2, hidden_features=h, num_blocks=4, activation="relu", dtype=torch.float32, init_std=1e-3)
    inputs, targets = normal(rows, 32, dtype=torch.float32), normal(rows, 2, seed=1, dtype=torch.float32)
    optimizer = revgn.GaussNewton(network, MSELoss(), solver=case.solver, block_weights="last", chunk_rows=chunk)
    gram = rows * rows * 8
    directions = 1024 * (h + 1) * 4 if isinstance(case.solver, Randomized) else 0  # as many as it keeps
    with PeakMemory() as memory:
        optimizer.backward(inputs, targets)
    assert max(memory.sizes) <= max(chunk * h * 4, gram, directions)


def test_streaming_serves_training():
    network = rev_mlp(48, 3, hidden_features=200, activation="relu", first_activation="relu", init_std=1e-3)
    inputs, targets = normal(60, 48), normal(60, 3, seed=1)
    optimizer = revgn.GaussNewton(network, MSELoss(), chunk_rows=25)
    for _ in range(9):
        report = optimizer.backward(inputs, targets)
        assert report.exact
        optimizer.step()
    assert report.loss < 1e-20


@each("case", SOLVERS, lambda case: not case.takes_chunks)
def test_solvers_that_factor_the_features_refuse_chunks(case):
    network = rev_mlp(12, 3, hidden_features=100)
    optimizer = revgn.GaussNewton(network, MSELoss(), solver=case.solver, chunk_rows=16)
    message = "the features of 40 rows come in 3 chunks, but this solver factors them as a whole; use Cholesky, Eigh"
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.backward(normal(40, 12), normal(40, 3, seed=1))


def test_chunks_need_rows():
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, or None for all rows at once; got 0"):
        revgn.GaussNewton(rev_mlp(), MSELoss(), chunk_rows=0)
