"""What a batch may be: rows of a DataLoader, several inputs, targets of the wrong shape, what is no tensor."""

import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import revgn
from networks import classes, normal
from revgn.losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, PoissonNLLLoss, Robust

N = 10
INPUTS, TARGETS = normal(N, 4), normal(N, 1, seed=5)


def network(d_out=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, d_out)).double()


def test_batches_of_a_data_loader_the_last_one_smaller():
    loader = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4, shuffle=True)
    optimizer = revgn.GaussNewton(network(), MSELoss(), lr=0.5)
    rows = []
    for _ in range(2):
        for inputs, targets in loader:
            report = optimizer.backward(inputs, targets)
            optimizer.step()
            rows.append(len(report.outputs))
            assert report.exact
    assert rows == [4, 4, 2, 4, 4, 2]


class Sum(nn.Module):
    """Two inputs, by position or by name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = network(), network()

    def forward(self, x, z):
        return self.first(x) + self.second(z)


def test_several_inputs_as_a_tuple_or_a_dict():
    optimizer = revgn.GaussNewton(Sum(), MSELoss())
    by_position = optimizer.direction((INPUTS, 2 * INPUTS), TARGETS)
    by_name = optimizer.direction({"z": 2 * INPUTS, "x": INPUTS}, TARGETS)
    for name in by_position:
        assert torch.equal(by_position[name], by_name[name])


@pytest.mark.parametrize("loss", [MSELoss(), nn.MSELoss(), BCEWithLogitsLoss(), PoissonNLLLoss(), Robust("huber")])
def test_targets_without_their_column(loss):
    """(n, 1) against (n,) would broadcast to (n, n) in torch's own losses."""
    for targets, call in ((TARGETS[:, 0], "unsqueeze(1)"), (classes(N, 2), "unsqueeze(1).to(outputs.dtype)")):
        for optimizer in (revgn.GaussNewton(network(), loss), revgn.LevenbergMarquardt(network(), loss)):
            with pytest.raises(ValueError, match=re.escape(f"shape (10, 1); call targets.{call}")):
                optimizer.step(INPUTS, targets)


def test_outputs_without_their_column():
    model = nn.Sequential(network(), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"outputs have shape \(\d+,\) for \d+ rows .*: outputs.unsqueeze\(1\) makes"):
        revgn.GaussNewton(model, MSELoss()).backward(INPUTS, TARGETS[:, 0])


@pytest.mark.parametrize(
    ("targets", "advice"),
    [
        (classes(N, 3).unsqueeze(1), "call targets.squeeze(1)"),
        (classes(N, 3).int(), "call targets.long()"),
        (classes(N, 3).int().unsqueeze(1), "call targets.squeeze(1).long()"),
    ],
)
def test_class_indices_in_a_column_or_of_another_integer(targets, advice):
    with pytest.raises(TypeError, match=re.escape(advice)):
        revgn.GaussNewton(network(3), CrossEntropyLoss()).backward(INPUTS, targets)


class Wrapped(nn.Module):
    """Whose outputs are something else than a tensor."""

    def __init__(self, form):
        super().__init__()
        self.network, self.form = network(), form

    def forward(self, x):
        return self.form(self.network(x))


@dataclass
class ModelOutput:
    logits: torch.Tensor


FORMS = {
    "tuple": lambda outputs: (outputs, outputs),
    "dict": lambda outputs: {"logits": outputs},
    "ModelOutput": ModelOutput,
    "list": lambda outputs: [outputs],
    "NoneType": lambda outputs: None,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("right_inverse", ["moore-penrose", "adjoint"])
def test_outputs_that_are_no_tensor_are_named(form, right_inverse):
    message = rf"the model's outputs are a {form}; expected one tensor \(n, d_out\): wrap the model in a module"
    optimizer = revgn.GaussNewton(Wrapped(FORMS[form]), MSELoss(), right_inverse=right_inverse)
    with pytest.raises(TypeError, match=message):
        optimizer.backward(INPUTS, TARGETS)


class Logits(nn.Module):
    """The wrapper that the message asks for."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["logits"]


def test_outputs_in_a_dict_by_a_wrapper_or_as_residuals():
    model = Wrapped(FORMS["dict"])
    assert revgn.GaussNewton(Logits(model), MSELoss()).backward(INPUTS, TARGETS).exact
    optimizer = revgn.LevenbergMarquardt(model, residuals=lambda model, batch: model(batch[0])["logits"] - batch[1])
    assert optimizer.step((INPUTS, TARGETS)).accepted


NO_TENSORS = {
    "list of inputs": (
        [INPUTS, INPUTS],
        TARGETS,
        TypeError,
        "inputs are a list of 2; expected a tensor, or tuple(inputs)",
    ),
    "numpy inputs": (INPUTS.numpy(), TARGETS, TypeError, "inputs of type ndarray; expected a tensor (n, ...)"),
    "number": (1.0, TARGETS, TypeError, "inputs of type float; expected a tensor"),
    "no inputs": (None, TARGETS, TypeError, "inputs of type NoneType; expected a tensor"),
    "text": ("x", TARGETS, TypeError, "inputs of type str; expected a tensor"),
    "empty tuple": ((), TARGETS, ValueError, "inputs with no tensor rows"),
    "rows that differ": ((INPUTS, INPUTS[:3]), TARGETS, ValueError, "inputs with tensors of"),
    "list of targets": (
        INPUTS,
        [0.0] * N,
        TypeError,
        "targets of type list; expected a tensor: torch.as_tensor(targets)",
    ),
    "numpy targets": (
        INPUTS,
        TARGETS.numpy(),
        TypeError,
        "targets of type ndarray; expected a tensor: torch.as_tensor",
    ),
    "number for targets": (INPUTS, 1.0, TypeError, "targets of type float; expected a tensor: torch.as_tensor"),
    "dict of targets": (
        INPUTS,
        {"y": TARGETS},
        TypeError,
        "targets of type dict; expected a tensor: choose the tensor",
    ),
    "no targets": (INPUTS, None, ValueError, "no targets; expected step(inputs, targets)"),
}


@pytest.mark.parametrize("case", NO_TENSORS)
@pytest.mark.parametrize("sample_weight", [None, torch.ones(N, dtype=torch.float64)])
def test_what_is_no_tensor_is_refused_in_a_line(case, sample_weight):
    inputs, targets, error, message = NO_TENSORS[case]
    optimizer = revgn.GaussNewton(network(), MSELoss())
    with pytest.raises(error, match=re.escape(message)):
        optimizer.backward(inputs, targets, sample_weight)
    assert all(p.grad is None for p in optimizer.model.parameters())


def test_numpy_arrays_are_told_how_to_become_tensors():
    with pytest.raises(TypeError, match=re.escape("; call torch.as_tensor(inputs)")):
        revgn.GaussNewton(network(), MSELoss()).backward(INPUTS.numpy(), TARGETS)
