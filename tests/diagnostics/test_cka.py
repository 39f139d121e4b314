import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

import oracles
from networks import normal
from revgn.diagnostics import linear_cka

BOTH = pytest.mark.parametrize("debiased", [False, True])


@BOTH
def test_rotated_scaled_and_shifted_copies_are_alike(debiased):
    x = normal(20, 7)
    rotation = torch.linalg.qr(normal(7, 7, seed=1)).Q
    assert linear_cka(x, -3e4 * x @ rotation + normal(7, seed=2), debiased=debiased) == pytest.approx(1, abs=1e-12)


def test_plain_alignment_is_what_its_definition_says():
    x, y = normal(9, 4), normal(9, 6, seed=1) + 5
    assert linear_cka(x, y) == pytest.approx(oracles.cka(x.numpy(), y.numpy()), rel=1e-10)


@pytest.mark.parametrize("rows", [4, 5, 8])
def test_debiased_alignment_is_that_of_the_u_statistic_over_all_quadruples(rows):
    x = normal(rows, 4)
    y = x @ normal(4, 3, seed=1) + 0.3 * normal(rows, 3, seed=2) + 2
    expected = oracles.debiased_cka(x.numpy(), y.numpy())
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected, rel=1e-9)


def hermitian_cka(x, y, *, debiased):
    """The definitions of the oracles for complex x and y: K = x x^H, and conjugates in the inner product."""
    n = len(x)
    k, other = x @ x.conj().T, y @ y.conj().T
    if not debiased:
        h = np.eye(n) - np.ones((n, n)) / n
        k, other = h @ k @ h, h @ other @ h
        return np.vdot(k, other).real / (np.linalg.norm(k) * np.linalg.norm(other))
    i, j, q, r = np.array(list(itertools.permutations(range(n), 4))).T

    def hsic(a, b):
        return np.mean(a[i, j].conj() * (b[i, j] + b[q, r] - 2 * b[i, q])).real

    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


@BOTH
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.float64])
def test_complex_representations_are_compared_by_their_hermitian_gram_matrices(dtype, debiased):
    x = normal(6, 4, dtype=dtype) + 1
    y = x.to(torch.complex128) @ normal(4, 3, seed=1, dtype=torch.complex128)
    y = y + 0.3 * normal(6, 3, seed=2, dtype=torch.complex128) + 2j
    expected = hermitian_cka(x.numpy().astype(complex), y.numpy(), debiased=debiased)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(expected, rel=1e-9)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(expected, rel=1e-9)


@BOTH
def test_unitary_rotations_of_complex_representations_are_alike(debiased):
    x = normal(20, 7, dtype=torch.complex128)
    rotation = torch.linalg.qr(normal(7, 7, seed=1, dtype=torch.complex128)).Q
    y = 3e4j * x @ rotation + normal(7, seed=2, dtype=torch.complex128)
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(1, abs=1e-12)


@BOTH
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_whole_numbers_and_truth_values_are_compared_as_floats(dtype, debiased):
    x = normal(12, 5).abs().round().to(dtype)
    y = normal(12, 3, seed=1)
    assert linear_cka(x, y, debiased=debiased) == linear_cka(x.double(), y, debiased=debiased)


def test_an_independent_package_agrees():
    cka = pytest.importorskip("cka", reason="pytorch-cka, of the extra [dev], is not installed")
    x = normal(40, 12)
    y = x[:, :5].relu() + 0.5 * normal(40, 5, seed=1)
    inner, norm_x, norm_y = (each.item() for each in cka.hsic((x @ x.mT)[None], (y @ y.mT)[None]))
    assert linear_cka(x, y, debiased=True) == pytest.approx(inner / (norm_x * norm_y) ** 0.5, rel=1e-9)


def test_unrelated_representations_are_unlike_only_without_bias():
    pairs = [(normal(30, 200, seed=seed), normal(30, 200, seed=1000 + seed)) for seed in range(50)]
    plain = torch.tensor([linear_cka(x, y) for x, y in pairs])
    debiased = torch.tensor([linear_cka(x, y, debiased=True) for x, y in pairs])
    assert plain.min() > 0.8
    assert debiased.mean().abs() < 4 * debiased.std() / 50**0.5
    assert debiased.abs().max() < 0.2


def test_a_known_case():
    """Of two orthogonal directions of equal spread one is kept: <K, L> / (||K|| ||L||) = 1 / sqrt(2)."""
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert linear_cka(x, x[:, :1]) == pytest.approx(0.5**0.5, rel=1e-12)
    assert linear_cka(x[:, :1], x[:, 1:]) == pytest.approx(0, abs=1e-12)


@BOTH
def test_single_precision_far_from_the_origin_loses_nothing(debiased):
    x, y = normal(12, 5).float(), normal(12, 5, seed=1).float()
    x_far = (x.double() + 1e6).float()  # float32 resolves 0.06 there
    expected = linear_cka((x_far.double() - 1e6), y, debiased=debiased)
    assert linear_cka(x_far, y, debiased=debiased) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 12), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 100))
def test_alignment_is_symmetric_and_at_most_one_for_any_shapes(n, p, q, debiased, seed):
    x, y = normal(n, p, seed=seed), normal(n, q, seed=seed + 1)
    value = linear_cka(x, y, debiased=debiased)
    assert value <= 1 + 1e-9
    assert value >= (-1 - 1e-9 if debiased else -1e-9)
    assert value == pytest.approx(linear_cka(y, x, debiased=debiased), rel=1e-9, abs=1e-12)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert value == pytest.approx(linear_cka(x[order], y[order], debiased=debiased), rel=1e-7, abs=1e-9)


@BOTH
def test_what_is_the_same_for_all_rows_is_like_nothing(debiased):
    constant = torch.full((6, 3), 0.1, dtype=torch.float64)  # 0.1: its mean is not exactly 0.1
    assert linear_cka(constant, normal(6, 3), debiased=debiased) != linear_cka(constant, constant, debiased=debiased)
    assert str(linear_cka(constant, normal(6, 3), debiased=debiased)) == "nan"


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (((5, 3), (6, 3)), r"shapes \(5, 3\) and \(6, 3\); expected \(n, p\) and \(n, q\): flatten"),
        (((5, 3, 2), (5, 3)), "flatten each row"),
        (((5,), (5,)), "flatten each row"),
        (((3, 2), (3, 2)), "3 rows; debiased CKA needs at least 4: give more rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, expected):
    with pytest.raises(ValueError, match=expected):
        linear_cka(*(torch.ones(shape) for shape in shapes), debiased=True)


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="1 rows; CKA needs at least 2"):
        linear_cka(torch.ones(1, 2), torch.ones(1, 2))
