"""Slow, independent float64 versions of what revgn computes: numpy and plain autograd, none of revgn's own mathematics.

They read a network's public parts (blocks, features.projection, layout, linear, readout, lift) and nothing else.
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


def seen(layout, z):
    """What each position sees of halves z (n, d/2), one row a position, entry by entry."""
    rows = []
    for half in z:
        if hasattr(layout, "tokens"):
            table = half.reshape(layout.tokens, layout.channels)
            rows += [[table[t, channel] for t in range(layout.tokens)] for channel in range(layout.channels)]
            continue
        image, around = half.reshape(layout.height, layout.width, layout.channels), layout.kernel_size // 2
        for y, x in itertools.product(range(layout.height), range(layout.width)):
            window = []
            for channel, i, j in itertools.product(range(layout.channels), *2 * [range(-around, around + 1)]):
                inside = 0 <= y + i < layout.height and 0 <= x + j < layout.width
                window.append(image[y + i, x + j, channel] if inside else 0.0)
            rows.append(window)
    return np.array(rows)


def joined(coupling, rows):
    """What the uses of a coupling's weights give, one row each, as halves (n, d/2)."""
    layout = getattr(coupling.features, "layout", None)
    if layout is None:
        return rows
    if hasattr(layout, "tokens"):
        return np.array([part.T.ravel() for part in np.split(rows, len(rows) // layout.channels)])
    return np.array([part.ravel() for part in np.split(rows, len(rows) // (layout.height * layout.width))])


def by_use(coupling, halves):
    """The inverse of `joined`, by asking it where every entry goes."""
    n, width = halves.shape
    q = len(coupling.linear.weight)
    places = joined(coupling, np.arange(n * width).reshape(-1, q))
    rows = np.empty(n * width)
    rows[places.ravel()] = halves.ravel()
    return rows.reshape(-1, q)


def features(coupling, z):
    """[Phi(z), 1] with the bias column written out; one row for each use of the weights."""
    chosen = coupling.features
    if hasattr(chosen, "layout"):
        z, chosen = seen(chosen.layout, z), chosen.features
    z = z if chosen.projection is None else z @ array(chosen.projection)
    phi = ACTIVATIONS[chosen.activation.name](z)
    return phi if coupling.linear.bias is None else np.hstack([phi, np.ones((len(phi), 1))])


def weights(coupling):
    w = array(coupling.linear.weight).T
    return w if coupling.linear.bias is None else np.vstack([w, array(coupling.linear.bias)])


def shift(coupling, z):
    return joined(coupling, features(coupling, z) @ weights(coupling))


def states(network, inputs):
    """Every state X_0 ... X_L, and the halves (b, a') that each block's couplings saw; None for permutations."""
    x = array(inputs)
    x = x if network.lift is None else x @ array(network.lift)
    half = x.shape[1] // 2
    xs, halves = [x], []
    for block in network.blocks:
        if hasattr(block, "order"):
            xs.append(np.array([[row[k] for k in block.order] for row in xs[-1]]))
            halves.append(None)
            continue
        a, b = xs[-1][:, :half], xs[-1][:, half:]
        a_out = a + shift(block.f, b)
        b_out = b + shift(block.g, a_out)
        xs.append(np.hstack([a_out, b_out]))
        halves.append((b, a_out))
    return xs, halves


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
    xs, halves = states(network, inputs)
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
    b, a_out = halves[index]
    phi_f, phi_g = features(block.f, b), features(block.g, a_out)
    delta_f = np.linalg.pinv(phi_f) @ by_use(block.f, ta)
    moved = joined(block.f, phi_f @ delta_f)
    through_g = np.array(
        [
            array(torch.autograd.functional.jacobian(lambda z: block.g(z.unsqueeze(0)).squeeze(0), torch.tensor(a))) @ t
            for a, t in zip(a_out, moved, strict=True)
        ]
    )
    return delta_f, np.linalg.pinv(phi_g) @ by_use(block.g, tb - through_g)


def derivative(layer, inputs):
    """The derivative of all entries of a layer's outputs by its trainable parameters, (entries, P)."""
    chosen = {name: p.detach() for name, p in layer.named_parameters() if p.requires_grad}
    by_name = torch.func.jacrev(lambda values: torch.func.functional_call(layer, values, (inputs,)).flatten())(chosen)
    return np.hstack([array(by_name[name].flatten(1)) for name in chosen])


def adjoint_step(module, inputs, r):
    """The adjoint step of a Sequential of torch's layers, one vector in the order of named_parameters.

    Z is the derivative of a layer's outputs, all entries of all rows, by its own parameters. Of the layers whose Z has
    as many independent rows: M_i = sum of A_i A_i^T, M_i v_i = r_i, each layer takes Z^+ (A^T v). All others stay.
    """
    z, layers = inputs.clone().requires_grad_(), []
    for layer in module:
        into, z = z, layer(z)
        if trainable(layer):
            layers.append((layer, into.detach(), z))

    taking_part = []
    for layer, into, out in layers:
        columns = derivative(layer, into)
        if np.linalg.matrix_rank(columns @ columns.T, hermitian=True) == len(columns):
            a = [array(torch.autograd.grad(z[:, k].sum(), out, retain_graph=True)[0]) for k in range(z.shape[1])]
            taking_part.append((layer, columns, np.stack(a, axis=1).reshape(*z.shape, -1)))  # A is (n, d_out, entries)

    m = sum(np.einsum("iaq,ibq->iab", a, a) for _, _, a in taking_part)
    v = np.linalg.solve(m, r[:, :, None])[:, :, 0]
    steps = {p: np.zeros(p.numel()) for p in trainable(module)}
    for layer, columns, a in taking_part:
        step = columns.T @ np.linalg.solve(columns @ columns.T, np.einsum("iaq,ia->iq", a, v).ravel())
        ends = np.cumsum([p.numel() for p in trainable(layer)])
        steps |= dict(zip(trainable(layer), np.split(step, ends[:-1]), strict=True))
    return np.concatenate([steps[p] for p in trainable(module)])


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
