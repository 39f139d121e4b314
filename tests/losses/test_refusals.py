"""Outputs, targets and options that losses refuse."""

import math
import re

import pytest
import torch

from networks import classes, normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, PoissonNLLLoss, Robust

BAD_TARGETS = [
    (
        MSELoss(),
        torch.zeros(6),
        "targets of torch.float32 and shape (6,); expected torch.float64 and the outputs' shape",
    ),
    (MSELoss(), classes(6, 4), "class indices need a one-hot encoding"),
    (MSELoss(), normal(6, 4).float(), "targets of torch.float32 and shape (6, 4); expected torch.float64"),
    (MSELoss(), normal(5, 4), "5 targets for 6 rows of outputs"),
    (MSELoss(), torch.tensor(1.0), "scalar targets for 6 rows of outputs"),
    (MSELoss(), torch.zeros(6, 4, dtype=torch.float64, device="meta"), "targets on meta, outputs on cpu"),
    (MSELoss(), normal(6, 4).tolist(), "targets of type list; expected a tensor: torch.as_tensor(targets)"),
    (
        CrossEntropyLoss(),
        torch.tensor([0, 1, 2, 3, 4, 0]),
        "class indices from 0 to 4; with 4 outputs expected 0 to 3",
    ),
    (CrossEntropyLoss(), torch.tensor([0, 1, 2, 3, -1, 0]), "class indices from -1 to 3"),
    (CrossEntropyLoss(), classes(6, 4).int(), "expected class indices (n,) of torch.int64, or probabilities (n, 4)"),
    (CrossEntropyLoss(), normal(6, 4), "probability targets must not be negative"),
    (CrossEntropyLoss(), torch.ones(6, 4, dtype=torch.float64), "must sum to 1 in each row"),
    (BCEWithLogitsLoss(), normal(6, 4), "expected probabilities in [0, 1]"),
    (BCEWithLogitsLoss(), torch.ones(6, 4, dtype=torch.int64), "convert labels with targets.to(outputs.dtype)"),
    (PoissonNLLLoss(), normal(6, 4), "expected counts: finite and not negative"),
    (PoissonNLLLoss(), normal(6, 4).exp() + math.nan, "targets from nan to nan; expected counts"),
    (PoissonNLLLoss(), torch.ones(6, 4, dtype=torch.int64), "convert counts with targets.to(outputs.dtype)"),
    (Robust("huber"), classes(6, 4), "class indices need a one-hot encoding"),
    (Robust("huber", CrossEntropyLoss()), normal(6, 4), "probability targets must not be negative"),
    (
        Robust("huber", PoissonNLLLoss()),
        torch.full((6, 4), 9.0, dtype=torch.float64),
        "in a row; Robust takes the value of its base for a squared residual, which is never negative",
    ),
]


@pytest.mark.parametrize(("loss", "targets", "message"), BAD_TARGETS)
def test_bad_targets_are_refused(loss, targets, message):
    for method in (loss, loss.check):
        with pytest.raises((ValueError, TypeError), match=re.escape(message)):
            method(normal(6, 4), targets)


@pytest.mark.parametrize("outputs", [torch.zeros(0, 4), torch.zeros(4), torch.zeros(4, 0)])
def test_outputs_of_a_bad_shape_are_refused(outputs):
    with pytest.raises(ValueError, match=re.escape("expected (n, d_out) with at least one row")):
        MSELoss()(outputs, outputs)


def test_outputs_of_a_bad_type_are_refused():
    with pytest.raises(TypeError, match=re.escape("outputs of torch.int64; expected a floating dtype")):
        MSELoss()(torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="outputs of type list; expected a tensor"):
        MSELoss()([[1.0]], torch.ones(1, 1))


BAD_OPTIONS = [
    (lambda: CrossEntropyLoss(curvature="exakt"), "unknown curvature 'exakt'; did you mean 'exact'?"),
    (lambda: CrossEntropyLoss("exact", damping=-1.0), "damping must be finite and not negative, got -1.0"),
    (lambda: CrossEntropyLoss("exact", damping=math.nan), "damping must be finite and not negative, got nan"),
    (lambda: CrossEntropyLoss(damping=0.1), "damping=0.1 has no meaning with curvature='identity'"),
    (lambda: CrossEntropyLoss(label_smoothing=1.5), "label_smoothing must lie in [0, 1], got 1.5"),
    (lambda: BCEWithLogitsLoss(damping=math.inf), "damping must be finite and not negative, got inf"),
    (lambda: PoissonNLLLoss(damping=-1.0), "damping must be finite and not negative, got -1.0"),
    (lambda: Robust("hubert"), "unknown rho 'hubert'; did you mean 'huber'?"),
    (lambda: Robust("huber", scale=0.0), "scale must be finite and positive, got 0.0"),
    (lambda: Robust("huber", scale=math.nan), "scale must be finite and positive, got nan"),
]


@pytest.mark.parametrize(("make", "message"), BAD_OPTIONS)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_base_that_is_no_loss_of_ours_is_refused():
    with pytest.raises(TypeError, match=r"base of type MSELoss; expected a loss of revgn\.losses"):
        Robust("huber", torch.nn.MSELoss())
