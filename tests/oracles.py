"""Slow, independent float64 versions of what revgn computes: numpy and plain autograd, none of revgn's own mathematics.

They read a network's public parts (blocks, features.projection, linear, readout, lift) and nothing else.
"""

import itertools

import numpy as np
import torch
from scipy import special

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "gelu": lambda z: 0.5 * z * (1 + special.erf(z / np.sqrt(2))),
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(z, 0),
    "sin": np.sin,
}


def array(tensor):
    return tensor.detach().double().numpy()


def features(coupling, z):
    """[Phi(z), 1] with the bias column written out."""
    projection = coupling.features.projection
    z = z if projection is None else z @ array(projection)
    phi = ACTIVATIONS[coupling.features.activation.name](z)
    return phi if coupling.linear.bias is None else np.hstack([phi, np.ones((len(phi), 1))])


def weights(coupling):
    w = array(coupling.linear.weight).T
    return w if coupling.linear.bias is None else np.vstack([w, array(coupling.linear.bias)])


def states(network, inputs):
    """Every state X_0 ... X_L, and the halves (b, a') that each block's couplings saw."""
    x = array(inputs)
    x = x if network.lift is None else x @ array(network.lift)
    half = x.shape[1] // 2
    xs, seen = [x], []
    for block in network.blocks:
        a, b = xs[-1][:, :half], xs[-1][:, half:]
        a_out = a + features(block.f, b) @ weights(block.f)
        b_out = b + features(block.g, a_out) @ weights(block.g)
        xs.append(np.hstack([a_out, b_out]))
        seen.append((b, a_out))
    return xs, seen


def outputs(network, inputs):
    return states(network, inputs)[0][-1] @ array(network.readout)


def trainable(module):
    return [p for p in module.parameters() if p.requires_grad]


def call(module, inputs):
    """A tuple of inputs is several positional arguments, a dict keyword arguments."""
    if isinstance(inputs, dict):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, tuple) else module(inputs)


def jacobian(module, inputs):
    """J, (n d_out, P), one backward pass an output, columns in the order of named_parameters, frozen ones left out."""
    out = call(module, inputs).flatten()
    parameters = trainable(module)
    rows = [torch.autograd.grad(o, parameters, retain_graph=True, allow_unused=True) for o in out]
    return np.array(
        [
            np.concatenate(
                [(np.zeros(p.numel()) if g is None else array(g).ravel()) for g, p in zip(row, parameters, strict=True)]
            )
            for row in rows
        ]
    )


def flat(module, steps):
    """A step by name as one vector in the order of named_parameters, frozen ones left out."""
    return np.concatenate([array(steps[name]).ravel() for name, p in module.named_parameters() if p.requires_grad])


def block_step(network, inputs, index, r):
    """Delta_f and Delta_g (bias row included) of one block that is to move the outputs by r all alone.

    The target at the block's output comes from the dense d x d Jacobian of the layers above, solved row by row.
    """
    block = network.blocks[index]
    xs, seen = states(network, inputs)
    half = xs[0].shape[1] // 2
    wanted = r @ np.linalg.pinv(array(network.readout))

    def above(row):
        for upper in list(network.blocks)[index + 1 :]:
            row = upper(row.unsqueeze(0)).squeeze(0)
        return row

    target = np.array(
        [
            np.linalg.solve(array(torch.autograd.functional.jacobian(above, torch.tensor(x))), t)
            for x, t in zip(xs[index + 1], wanted, strict=True)
        ]
    )
    ta, tb = target[:, :half], target[:, half:]
    b, a_out = seen[index]
    phi_f, phi_g = features(block.f, b), features(block.g, a_out)
    delta_f = np.linalg.pinv(phi_f) @ ta
    moved = phi_f @ delta_f
    through_g = np.array(
        [
            array(torch.autograd.functional.jacobian(lambda z: block.g(z.unsqueeze(0)).squeeze(0), torch.tensor(a))) @ t
            for a, t in zip(a_out, moved, strict=True)
        ]
    )
    return delta_f, np.linalg.pinv(phi_g) @ (tb - through_g)


def adjoint_step(mlp, inputs, r):
    """The adjoint step of a Sequential of Linear and activations, one vector in the order of named_parameters.

    Of the layers whose trainable columns [phi, 1] have rank n: M_i = sum of A_i A_i^T, M_i v_i = r_i, each layer takes
    [phi, 1]^+ (A^T v). All others stay.
    """
    z, layers = inputs.clone().requires_grad_(), []
    for layer in mlp:
        phi, z = z, layer(z)
        if isinstance(layer, torch.nn.Linear):
            layers.append((layer, phi, z))

    taking_part = []
    for layer, phi, out in layers:
        parts = [array(phi)] * layer.weight.requires_grad
        parts += [np.ones((len(phi), 1))] * (layer.bias is not None and layer.bias.requires_grad)
        columns = np.hstack(parts) if parts else np.zeros((len(phi), 1))
        if np.linalg.matrix_rank(columns) == len(phi):
            a = [array(torch.autograd.grad(z[:, k].sum(), out, retain_graph=True)[0]) for k in range(z.shape[1])]
            taking_part.append((layer, columns, np.stack(a, axis=1)))  # A is (n, d_out, q)

    m = sum(np.einsum("iaq,ibq->iab", a, a) for _, _, a in taking_part)
    v = np.linalg.solve(m, r[:, :, None])[:, :, 0]
    steps = {p: np.zeros(p.shape) for p in trainable(mlp)}
    for layer, columns, a in taking_part:
        delta = np.linalg.pinv(columns) @ np.einsum("iaq,ia->iq", a, v)
        steps[layer.weight] = delta[: layer.in_features].T
        if layer.bias in steps:
            steps[layer.bias] = delta[-1]
    return np.concatenate([steps[p].ravel() for p in trainable(mlp)])


def softmax(z):
    return np.exp(z - special.logsumexp(z, axis=-1, keepdims=True))


def cross_entropy(z, y):
    """Mean over rows, y (n, classes) probabilities."""
    return -(y * (z - special.logsumexp(z, axis=-1, keepdims=True))).sum(-1).mean()


def cross_entropy_direction(z, y, damping):
    """(H + damping I)^+ grad with H = diag(p) - p p^T, row by row; the null space of H is the constants."""
    p = softmax(z)
    k = p.shape[1]
    constants = np.ones((k, k)) / k if damping == 0 else 0.0
    hessians = [np.diag(row) - np.outer(row, row) + damping * np.eye(k) + constants for row in p]
    return np.array([np.linalg.solve(h, g) for h, g in zip(hessians, p - y, strict=True)])


def gauss_newton(j, hessians, grad):
    """(J^T H J)^+ J^T grad for H block-diagonal by rows, with an explicit P x P matrix; grad (n, d_out) per row."""
    n, d_out = grad.shape
    h = np.zeros((n * d_out, n * d_out))
    for i in range(n):
        h[i * d_out : (i + 1) * d_out, i * d_out : (i + 1) * d_out] = hessians[i]
    return np.linalg.pinv(j.T @ h @ j, rcond=1e-11, hermitian=True) @ (j.T @ grad.ravel())


def cka(x, y):
    """Kornblith et al. (2019), equation 3, from the centring matrix written out."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(k, other):
        return np.trace(k @ h @ other @ h)

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


def debiased_cka(x, y):
    """The same with HSIC's U-statistic, by its definition: a mean over all ordered quadruples of different rows."""
    quadruples = np.array(list(itertools.permutations(range(len(x)), 4))).T

    def hsic(k, other):
        i, j, q, r = quadruples
        return np.mean(k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]))

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
