"""Losses of torch.nn taken for ours: the same gradients, and values, up to the factor that `from_torch` states."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import revgn
from networks import normal
from revgn import losses
from revgn.losses.adopted import ADOPTED, NEAREST, from_torch
from tables.losses import counts, distributions, indices, labels, real, shares

N, D_OUT = 12, 4
WEIGHT = torch.tensor([0.5, 2.0, 0.0, 3.0], dtype=torch.float64)
POSITIVE = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)


def some_ignored(n, d_out):
    targets = indices(n, d_out)
    targets[::5] = -100
    return targets


# theirs, targets, outputs, and torch's value over ours
EXACT = {
    "squared": (nn.MSELoss(), real, D_OUT, 2 / D_OUT),
    "squared, one output": (nn.MSELoss(), real, 1, 2.0),
    "cross-entropy": (nn.CrossEntropyLoss(), indices, D_OUT, 1.0),
    "cross-entropy, distributions": (nn.CrossEntropyLoss(), distributions, D_OUT, 1.0),
    "cross-entropy, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), indices, D_OUT, 1.0),
    "cross-entropy, ignored": (nn.CrossEntropyLoss(), some_ignored, D_OUT, 1.0),
    "cross-entropy, ignored class": (nn.CrossEntropyLoss(ignore_index=1), indices, D_OUT, 1.0),
    "cross-entropy, ignored, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), some_ignored, D_OUT, 1.0),
    "cross-entropy, weighted": (nn.CrossEntropyLoss(WEIGHT), indices, D_OUT, 1.0),
    "cross-entropy, weighted, ignored": (nn.CrossEntropyLoss(WEIGHT), some_ignored, D_OUT, 1.0),
    "binary": (nn.BCEWithLogitsLoss(), labels, D_OUT, 1 / D_OUT),
    "binary, weighted": (nn.BCEWithLogitsLoss(pos_weight=POSITIVE), labels, D_OUT, 1 / D_OUT),
    "binary, weighted, shares": (nn.BCEWithLogitsLoss(pos_weight=POSITIVE), shares, D_OUT, 1 / D_OUT),
    "binary, one weight": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), labels, 1, 1.0),
    "binary, one weight for all": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), labels, D_OUT, 1 / D_OUT),
    "poisson": (nn.PoissonNLLLoss(), counts, D_OUT, 1 / D_OUT),
    "huber": (nn.HuberLoss(delta=0.3), real, 1, 1.0),
    "smooth l1": (nn.SmoothL1Loss(beta=0.3), real, 1, 1 / 0.3),
}


def value_and_gradient(loss, outputs, targets):
    leaf = outputs.clone().requires_grad_()
    value = loss(leaf, targets)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("case", EXACT)
def test_value_and_gradient_are_torch_s_up_to_the_stated_factor(case):
    theirs, draw, d_out, factor = EXACT[case]
    outputs, targets = 2 * normal(N, d_out), draw(N, d_out)
    value, gradient = value_and_gradient(theirs, outputs, targets)
    ours, slope = value_and_gradient(from_torch(theirs), outputs, targets)
    torch.testing.assert_close(factor * ours, value)
    torch.testing.assert_close(factor * slope, gradient)


@pytest.mark.parametrize("case", EXACT)
def test_every_row_is_its_closed_form(case):
    theirs, draw, d_out, _ = EXACT[case]
    loss, outputs, targets = from_torch(theirs), 2 * normal(N, d_out), draw(N, d_out)
    torch.testing.assert_close(loss.gradient(outputs, targets), losses.GaussNewtonLoss.gradient(loss, outputs, targets))
    curvature = loss.curvature(outputs, targets)
    if curvature is not None:
        root = losses.GaussNewtonLoss.root(loss, outputs, targets)
        own = loss.root(outputs, targets)
        torch.testing.assert_close(own.mT @ own, root.mT @ root)
        if not isinstance(loss, losses.Robust):
            hessian = losses.GaussNewtonLoss.curvature(loss, outputs, targets)
            torch.testing.assert_close(curvature, hessian)


@pytest.mark.parametrize("curvature", ["identity", "exact"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("draw", [indices, some_ignored, distributions])
def test_class_weights_with_smoothing_or_probabilities_are_torch_s_up_to_the_batch_s_norm(draw, smoothing, curvature):
    outputs, targets = 2 * normal(N, D_OUT), draw(N, D_OUT)
    loss = losses.CrossEntropyLoss(curvature, label_smoothing=smoothing, class_weight=WEIGHT, ignore_index=-100)
    value, gradient = value_and_gradient(nn.CrossEntropyLoss(WEIGHT, label_smoothing=smoothing), outputs, targets)
    ours, slope = value_and_gradient(loss, outputs, targets)
    kept = targets[targets != -100] if draw is not distributions else targets
    probabilities = targets if draw is distributions else functional.one_hot(kept, D_OUT).double()
    smoothed = (1 - smoothing) * probabilities + smoothing / D_OUT
    norm = len(targets) if draw is distributions else WEIGHT[kept].sum()
    factor = (smoothed @ WEIGHT).sum() / norm
    torch.testing.assert_close(factor * ours, value)
    torch.testing.assert_close(factor * slope, gradient)


def test_full_poisson_adds_a_constant_of_the_targets():
    outputs, targets = normal(N, D_OUT), counts(N, D_OUT)
    full, plain = nn.PoissonNLLLoss(full=True), nn.PoissonNLLLoss()
    ours = from_torch(full)
    _, gradient = value_and_gradient(full, outputs, targets)
    _, slope = value_and_gradient(ours, outputs, targets)
    torch.testing.assert_close(slope / D_OUT, gradient)
    constant = full(outputs, targets) - plain(outputs, targets)
    torch.testing.assert_close(full(0 * outputs, targets) - plain(0 * outputs, targets), constant)


def test_class_weights_are_row_weights_and_multiply_the_sample_weight():
    outputs, targets, own = normal(N, D_OUT), indices(N, D_OUT), normal(N, 1).abs().flatten()
    for kind in ("identity", "exact"):
        weighted, plain = losses.CrossEntropyLoss(kind, class_weight=WEIGHT), losses.CrossEntropyLoss(kind)
        both = WEIGHT[targets] * own
        torch.testing.assert_close(weighted(outputs, targets, own), plain(outputs, targets, both))
        torch.testing.assert_close(weighted.root(outputs, targets, own), plain.root(outputs, targets, both))
    robust = losses.Robust("cauchy", weighted)
    expected = losses.Robust("cauchy", plain)(outputs, targets, both)
    torch.testing.assert_close(robust(outputs, targets, own), expected)


def network(d_out=D_OUT, hidden=6):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, hidden), nn.Tanh(), nn.Linear(hidden, d_out)).double()


def direction(loss, targets, model=None, weight=None, **options):
    model = network(targets.shape[1] if targets.ndim == 2 else D_OUT) if model is None else model
    return revgn.GaussNewton(model, loss, **options).direction(normal(N, 5), targets, weight)


@pytest.mark.parametrize("case", EXACT)
def test_the_step_is_that_of_the_loss_it_stands_for(case):
    theirs, draw, d_out, _ = EXACT[case]
    targets, model = draw(N, d_out), network(d_out)
    first, second = (direction(loss, targets, model) for loss in (theirs, from_torch(theirs)))
    for name in first:
        assert torch.equal(first[name], second[name])


def test_rows_that_are_ignored_or_have_no_class_weight_are_as_if_not_given():
    targets = some_ignored(N, D_OUT)
    kept = (targets != -100) & (WEIGHT[targets.clamp_min(0)] > 0)
    loss = nn.CrossEntropyLoss(WEIGHT)
    opt = revgn.GaussNewton(network(), loss)
    whole = opt.direction(normal(N, 5), targets)
    part = opt.direction(normal(N, 5)[kept], targets[kept])
    for name in whole:
        assert torch.equal(whole[name], part[name])
    assert opt.backward(normal(N, 5), targets).outputs.shape == (kept.sum(), D_OUT)


def test_class_weights_decide_what_a_step_that_cannot_be_exact_moves():
    model, targets = network(hidden=2), indices(N, D_OUT)  # 24 parameters for 48 outputs
    weight = WEIGHT + 0.1
    first = direction(nn.CrossEntropyLoss(weight), targets, model)
    second = direction(nn.CrossEntropyLoss(), targets, model, weight[targets])
    plain = direction(nn.CrossEntropyLoss(), targets, model)
    for name in first:
        torch.testing.assert_close(first[name], second[name])
    assert any(not torch.allclose(first[name], plain[name], rtol=0.1) for name in first)


def test_levenberg_marquardt_and_fit_take_them_too():
    inputs = normal(N, 5)
    optimizer = revgn.LevenbergMarquardt(network(), nn.CrossEntropyLoss(WEIGHT))
    assert isinstance(optimizer.loss, losses.CrossEntropyLoss)
    fit = revgn.fit(network(2), nn.MSELoss(), inputs, normal(N, 2), max_steps=3)
    ours = revgn.fit(network(2), losses.MSELoss(), inputs, normal(N, 2), max_steps=3)
    assert fit.history[-1]["loss"] == ours.history[-1]["loss"]
    weighted = revgn.fit(network(), nn.CrossEntropyLoss(WEIGHT), inputs, some_ignored(N, D_OUT), max_steps=5)
    assert weighted.history[-1]["loss"] < weighted.history[0]["loss"]


class Mine(nn.MSELoss):
    """May compute anything."""


def squared(outputs, targets):
    return (outputs - targets).square().mean()


REFUSED = {
    "sum": (nn.MSELoss(reduction="sum"), ValueError, "torch.nn.MSELoss with reduction='sum'; expected 'mean'"),
    "none": (nn.CrossEntropyLoss(reduction="none"), ValueError, "with reduction='none'; expected 'mean'"),
    "element weights": (nn.BCEWithLogitsLoss(weight=torch.ones(4)), ValueError, "weights of rows are sample_weight="),
    "rates": (nn.PoissonNLLLoss(log_input=False), ValueError, "expected log_input=True: let the model give the log"),
    "smooth l1 of 0": (nn.SmoothL1Loss(beta=0.0), ValueError, "beta=0 is L1Loss, which has no curvature"),
    "l1": (nn.L1Loss(), TypeError, "loss is a L1Loss; its curvature is zero: use revgn.losses.Robust('soft_l1'"),
    "nll": (nn.NLLLoss(), TypeError, "use CrossEntropyLoss, on a model without the LogSoftmax at its end"),
    "bce": (nn.BCELoss(), TypeError, "use BCEWithLogitsLoss, on a model without the Sigmoid at its end"),
    "kl": (nn.KLDivLoss(), TypeError, "use CrossEntropyLoss with probabilities for targets"),
    "gaussian": (nn.GaussianNLLLoss(), TypeError, "use MSELoss with sample_weight=1 / var"),
    "ctc": (nn.CTCLoss(), TypeError, "loss is a CTCLoss; use one of revgn.losses, or a GaussNewtonLoss of your own"),
    "triplet": (nn.TripletMarginLoss(), TypeError, "or revgn.LevenbergMarquardt(model, residuals=...)"),
    "subclass": (
        Mine(),
        TypeError,
        "a Mine, a subclass of torch.nn.MSELoss; it may compute anything: use torch.nn.MSE",
    ),
    "class": (nn.MSELoss, TypeError, "loss is the class MSELoss; expected an object: MSELoss()"),
    "functional": (
        functional.cross_entropy,
        TypeError,
        "loss is the function cross_entropy; expected an object with a curvature: use revgn.losses.CrossEntropyLoss",
    ),
    "built-in functional": (functional.mse_loss, TypeError, "use revgn.losses.MSELoss"),
    "lambda": (lambda a, b: 0, TypeError, "loss is the function <lambda>; use one of revgn.losses, or a GaussNewton"),
    "function": (squared, TypeError, "loss is the function squared; use one of revgn.losses"),
    "string": ("mse", TypeError, "loss is a str; use one of revgn.losses"),
    "none given": (None, TypeError, "loss is a NoneType; use one of revgn.losses"),
    "module": (
        nn.Linear(1, 1),
        TypeError,
        "loss is a Linear; use one of revgn.losses, or a GaussNewtonLoss of your own",
    ),
    "negative weight": (nn.CrossEntropyLoss(-WEIGHT), ValueError, "finite and not negative and not all zero"),
    "weights by element": (
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(N, D_OUT)),
        ValueError,
        "pos_weight of shape (12, 4)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_others_are_refused_with_the_words_to_use(case):
    loss, error, message = REFUSED[case]
    with pytest.raises(error, match=re.escape(message)):
        revgn.GaussNewton(network(), loss)


def test_what_is_known_of_a_batch_only_is_refused_there():
    outputs, targets = normal(N, D_OUT), indices(N, D_OUT)
    cases = [
        (nn.HuberLoss(), real(N, D_OUT), "torch.nn.HuberLoss with 4 outputs judges each output by itself"),
        (nn.CrossEntropyLoss(torch.ones(3)), targets, "class_weight for 3 classes; expected one for each of 4"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)), labels(N, D_OUT), "pos_weight for 3 outputs; expected"),
        (nn.CrossEntropyLoss(ignore_index=7), torch.full((N,), 7), "or the target ignore_index; expected at least one"),
        (nn.CrossEntropyLoss(), targets + 1, "class indices from 1 to 4; with 4 outputs expected 0 to 3"),
        (nn.CrossEntropyLoss(torch.eye(4)[0]), torch.full((N,), 1), "for all rows, or they have the class_weight 0"),
    ]
    for loss, given, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            from_torch(loss)(outputs, given)
        with pytest.raises(ValueError, match=re.escape(message)):
            revgn.GaussNewton(network(), loss).backward(normal(N, 5), given)


def test_every_loss_of_torch_is_taken_or_refused():
    found = [c for name, c in vars(nn).items() if name.endswith("Loss") and isinstance(c, type)]
    assert set(ADOPTED) < set(found)
    assert set(NEAREST) < {c.__name__ for c in found}
