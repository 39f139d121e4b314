"""The neural tangent kernel K = J J^T of a network, and how alike the kernels of two networks are."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from revgn.diagnostics.side_effects import undisturbed
from revgn.linear import Inputs, Jacobian
from revgn.linear.functional import call


@dataclass(frozen=True)
class Estimate:
    """A number that was measured, and its standard deviation over repetitions: 0 where it is exact."""

    value: float
    standard_error: float


def ntk(model: nn.Module, inputs: Inputs) -> Tensor:
    """The tangent kernel K = J J^T, (n d_out, n d_out), of the outputs by all trainable parameters, in float64.

    Row i d_out + j belongs to output j of input row i. This is `revgn.Jacobian(model, inputs).gram()`, with its
    arguments and errors, of the model in evaluation mode (no dropout, fixed batch statistics). Modes, gradients and
    random numbers are left as they were. Source: Jacot et al. (2018).
    """
    with undisturbed(model, device_of(inputs)):
        return Jacobian(model, inputs).gram()


def ntk_similarity(
    model: nn.Module,
    reference: nn.Module,
    inputs: Inputs,
    *,
    samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Estimate:
    """The cosine <K_0, K>_F / (||K_0||_F ||K||_F) between the tangent kernels of two networks; 1 if they are alike.

    With `samples` the inner product and both norms are estimated from E (K_0 v)^T (K v) = <K_0, K>_F over random signs
    v: a product K v is one VJP and one JVP, and no kernel is formed. The jackknife takes off the ratio's own bias, of
    the order of its squared standard error, and gives that error.

    Args:
        model: after training, say.
        reference: a network with outputs of the same shape, say a copy from before.
        inputs: (n, ...), the rows that the kernels are taken on.
        samples: random vectors v, at least 2; None for the exact value, by both kernels in whole.
        generator: source of v; None: a new one of seed 0, so that calls agree and torch's global one stays as it is.

    Raises:
        ValueError: the outputs are not (n, d_out) or differ in shape, nothing is trainable, or fewer than 2 samples.
    """
    shape, other = outputs_shape(model, inputs), outputs_shape(reference, inputs)
    if shape != other:
        raise ValueError(
            f"outputs of shapes {tuple(shape)} and {tuple(other)}; kernels can be compared only where both networks "
            "have the same number of outputs"
        )
    vectors = probe_vectors(shape, samples, generator=generator)
    products = kernel_products(model, inputs, vectors)
    return similarity(kernel_products(reference, inputs, vectors), products, exact=samples is None)


def outputs_shape(model: nn.Module, inputs: Inputs) -> torch.Size:
    """The shape (n, d_out) of the model's outputs; ValueError if they have another."""
    with undisturbed(model, device_of(inputs)):
        return call(model, inputs).shape


def device_of(inputs: Inputs) -> torch.device:
    """The device of the first tensor."""
    return next(leaf.device for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))


def probe_vectors(shape: torch.Size, samples: int | None, *, generator: torch.Generator | None) -> Tensor | None:
    """What kernels are multiplied with to compare them, (samples, n, d_out) random signs; None for all unit vectors."""
    if samples is None:
        return None
    if samples < 2:
        raise ValueError(f"samples={samples}; a standard error needs at least 2, or None for the exact value")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    bits = torch.randint(2, (samples, *shape), generator=generator, device=generator.device)
    return 2.0 * bits - 1.0


def kernel_products(model: nn.Module, inputs: Inputs, vectors: Tensor | None) -> Tensor:
    """K v for each of the vectors (k, n, d_out), in the same shape; None for all unit vectors, that is for K itself."""
    with undisturbed(model, device_of(inputs)):
        jacobian = Jacobian(model, inputs)
        if vectors is None:
            return jacobian.gram().view(-1, jacobian.rows, jacobian.d_out)
        like = jacobian.outputs
        return torch.stack([jacobian.apply(jacobian.adjoint(v.to(like))) for v in vectors])


def similarity(first: Tensor, second: Tensor, *, exact: bool) -> Estimate:
    """The cosine between two kernels from their products (k, n, d_out) with k vectors: all unit ones, if exact."""
    first, second = first.double().flatten(1), second.double().flatten(1)
    # (k, 3): each row estimates the inner product and both squared norms.
    terms = torch.stack([(first * second).sum(1), first.square().sum(1), second.square().sum(1)], dim=1)
    value = float(_cosine(terms.sum(0)))
    if exact:
        return Estimate(value, 0.0)
    k = len(terms)
    without = _cosine(terms.sum(0) - terms)  # (k,): leaving out one vector each
    variance = (k - 1) * without.var(correction=0)
    return Estimate(k * value - (k - 1) * float(without.mean()), math.sqrt(float(variance)))


def _cosine(terms: Tensor) -> Tensor:
    inner, norm, other = terms.unbind(-1)
    return inner / (norm.sqrt() * other.sqrt())
