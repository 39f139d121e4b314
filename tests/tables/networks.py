"""Small float64 modules of every kind that steps and Jacobians must get right, and those that they must refuse."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from networks import normal, rev_mlp
from revgn.nn import InvertibleLinear, Permutation, RevConv, ReversibleNetwork, RevMixer

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A module and a batch for it: `make` gives the same fresh module every time, `inputs` the same rows."""

    make: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    d_out: int


def drawn(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The module in float64, every parameter and running statistic moved off its default, torch's generator untouched.

    As built most biases, scales and shifts are 0 or 1, and a forgotten one would not show.
    """

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = build().double()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter += 0.25 * torch.randn_like(parameter)
                for name, buffer in module.named_buffers():
                    if name.endswith("running_mean"):
                        buffer.normal_()
                    if name.endswith("running_var"):
                        buffer.uniform_(0.5, 2.0)
        return module

    return make


def case(build: Callable[[], nn.Module], inputs: Callable[[], Inputs], d_out: int) -> Case:
    return Case(drawn(build), inputs, d_out)


def rows(*shape: int, seed: int = 0) -> Callable[[], Tensor]:
    return lambda: normal(*shape, seed=seed)


def words(*shape: int, vocabulary: int = 5) -> Callable[[], Tensor]:
    return lambda: torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(0))


def mlp(*widths: int, activation: Callable[[], nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    """Linear, activation, ..., Linear."""
    layers: list[nn.Module] = []
    for p, q in itertools.pairwise(widths):
        layers += [nn.Linear(p, q, bias=bias), activation()]
    return nn.Sequential(*layers[:-1])


def frozen(module: nn.Module, *names: str) -> nn.Module:
    """The module without gradients for the parameters whose names begin with one of these."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(names))
    return module


def evaluated(module: nn.Module) -> nn.Module:
    return module.eval()


class Module(nn.Module):
    """A module whose parts and forward pass are given: forward(parts, *args, **kwargs)."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.call = forward

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return self.call(self, *args, **kwargs)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


# --- Multilayer perceptrons, and ways to use a Linear that is no plain call with the rows first.


class Listed(nn.Module):
    """Reads its parameter by a plain list too, as caches and weight-sharing containers do."""

    def __init__(self) -> None:
        super().__init__()
        self.w = parameter(5, 5)
        self.cached = [self.w]
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(x @ self.w) @ self.cached[0])


class TwoNames(nn.Module):
    """One Linear under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = self.first
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(torch.tanh(self.first(x))))


class Doubled(nn.Linear):
    """A Linear by type, but not by what it computes."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x).sin()


def tied_linears() -> nn.Module:
    module = mlp(5, 5, 5, 2)
    module[2].weight = module[0].weight
    return module


def one_prelu() -> nn.Module:
    activation = nn.PReLU()
    return mlp(5, 7, 7, 2, activation=lambda: activation)


def added_in_place(parts: Any, x: Tensor) -> Tensor:
    h = parts.a(x)
    h += parts.b(torch.tanh(h))  # what `a` gave out is overwritten afterwards
    return parts.out(torch.tanh(h))


def hooked() -> nn.Module:
    module = mlp(5, 6, 2)
    module[0].register_forward_hook(lambda layer, args, output: 1.7 * output)
    module[2].register_forward_pre_hook(lambda layer, args: (args[0] + 0.3,))
    return module


PERCEPTRONS = {
    # The plain one: N = 18 rows of J, P = 66.
    "mlp": case(lambda: mlp(5, 7, 3), rows(6, 5), 3),
    "one linear layer": case(lambda: nn.Linear(5, 2), rows(6, 5), 2),
    "mlp, no biases": case(lambda: mlp(5, 7, 3, bias=False), rows(6, 5), 3),
    "mlp, frozen first layer": case(lambda: frozen(mlp(5, 7, 3), "0."), rows(6, 5), 3),
    "mlp, frozen last layer": case(lambda: frozen(mlp(5, 7, 3), "2."), rows(6, 5), 3),
    "mlp, only biases": case(lambda: frozen(mlp(5, 7, 3), "0.weight", "2.weight"), rows(6, 5), 3),
    "mlp, only weights": case(lambda: frozen(mlp(5, 7, 3), "0.bias", "2.bias"), rows(6, 5), 3),
    "mlp, deep": case(lambda: mlp(5, *[6] * 7, 2), rows(6, 5), 2),
    # N = 21 rows of J, P = 12: a step is least squares.
    "mlp, narrow": case(lambda: mlp(5, 1, 3), rows(7, 5), 3),
    # Every row twice: J has more columns than rows, and half the rank.
    "mlp, repeated rows": case(lambda: mlp(5, 7, 2), lambda: normal(4, 5).repeat(2, 1), 2),
    "mlp, one output": case(lambda: mlp(5, 7, 1), rows(8, 5), 1),
    "mlp, many rows": case(lambda: mlp(5, 9, 2), rows(13, 5), 2),
    "mlp, linear first": case(lambda: nn.Sequential(nn.Linear(5, 6), *mlp(6, 6, 2)), rows(6, 5), 2),
    "mlp, relu in place": case(lambda: mlp(5, 9, 9, 2, activation=lambda: nn.ReLU(inplace=True)), rows(6, 5), 2),
    "mlp, prelu": case(lambda: mlp(5, 7, 7, 2, activation=nn.PReLU), rows(6, 5), 2),
    "mlp, prelu for each feature": case(lambda: mlp(5, 7, 7, 2, activation=lambda: nn.PReLU(7)), rows(6, 5), 2),
    "mlp, one prelu used twice": case(one_prelu, rows(6, 5), 2),
    "mlp, dropout in evaluation mode": case(
        lambda: evaluated(nn.Sequential(nn.Linear(5, 7), nn.Dropout(), nn.Tanh(), nn.Linear(7, 2))), rows(6, 5), 2
    ),
    "mlp, hooks that scale and shift": case(hooked, rows(6, 5), 2),
    "residual": case(
        lambda: Module(
            lambda parts, x: parts.out(x + parts.c(torch.tanh(parts.b(torch.tanh(parts.a(x)))))),
            a=nn.Linear(5, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 5), out=nn.Linear(5, 2),
        ),
        rows(6, 5), 2,
    ),
    "residual, added in place": case(
        lambda: Module(added_in_place, a=nn.Linear(5, 6), b=nn.Linear(6, 6), out=nn.Linear(6, 2)), rows(6, 5), 2
    ),
    "one layer used twice": case(
        lambda: Module(
            lambda parts, x: parts.out(parts.a(torch.tanh(parts.a(x)))), a=nn.Linear(5, 5), out=nn.Linear(5, 2)
        ),
        rows(6, 5), 2,
    ),
    "two layers with one weight": case(tied_linears, rows(6, 5), 2),
    "a layer by two names": case(TwoNames, rows(6, 5), 2),
    "a parameter in a list besides": case(Listed, rows(6, 5), 2),
    "a weight used beside its layer": case(
        lambda: Module(
            lambda parts, x: parts.out(torch.tanh(parts.a(x)) @ parts.a.weight), a=nn.Linear(5, 6), out=nn.Linear(5, 2)
        ),
        rows(6, 5), 2,
    ),
    "a subclass of Linear": case(lambda: nn.Sequential(Doubled(5, 6), nn.Linear(6, 2)), rows(6, 5), 2),
    "a layer that is not used": case(
        lambda: Module(lambda parts, x: parts.a(x), a=mlp(5, 6, 2), spare=nn.Linear(4, 4)), rows(6, 5), 2
    ),
    "rows in another order": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x.flip(0)).flip(0))), a=nn.Linear(5, 6), b=nn.Linear(6, 2)
        ),
        rows(6, 5), 2,
    ),
    "many rows in another order": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x.flip(0)).flip(0))), a=nn.Linear(5, 8), b=nn.Linear(8, 2)
        ),
        rows(13, 5), 2,
    ),
    "tokens": case(
        lambda: Module(lambda parts, x: parts.b(torch.tanh(parts.a(x))).mean(1), a=nn.Linear(4, 6), b=nn.Linear(6, 2)),
        rows(6, 3, 4), 2,
    ),
    "tokens in two dimensions": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x))).mean((1, 2)), a=nn.Linear(4, 6), b=nn.Linear(6, 2)
        ),
        rows(6, 2, 3, 4), 2,
    ),
    # As many tokens as rows: no shape tells which dimension is which.
    "tokens before rows": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x.transpose(0, 1)))).mean(0),
            a=nn.Linear(4, 6), b=nn.Linear(6, 2),
        ),
        rows(6, 6, 4), 2,
    ),
    "tokens among the rows": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x.flatten(0, 1)))).unflatten(0, (-1, 3)).mean(1),
            a=nn.Linear(4, 6), b=nn.Linear(6, 2),
        ),
        rows(6, 3, 4), 2,
    ),
}  # fmt: skip


# --- Convolutions. Each kind once in one dimension and once in two.

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride": {"stride": 2},
    "padding": {"padding": 2},
    "dilation": {"dilation": 2},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "out_channels": 8},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    # Of even kernels; torch warns where that pads one side by more than the other, so not here.
    "same": {"padding": "same", "kernel_size": 2, "dilation": 2},
    "no bias": {"bias": False},
    "all at once": {"stride": 2, "padding": 3, "dilation": 2, "groups": 2, "padding_mode": "circular", "bias": False},
}
POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}
CONV = {1: nn.Conv1d, 2: nn.Conv2d}
SHAPE = {1: (4, 9), 2: (4, 6, 5)}  # channels and positions


def convolved(dimensions: int, *after: nn.Module, **options: Any) -> nn.Module:
    """Convolution of 4 channels, what comes after, tanh, 2^dimensions positions, Linear to 2 outputs."""
    chosen = {"out_channels": 4, "kernel_size": 3} | options
    head = nn.Linear(chosen["out_channels"] * 2**dimensions, 2)
    conv = CONV[dimensions](4, **chosen)
    return nn.Sequential(conv, *after, nn.Tanh(), POOL[dimensions](2), nn.Flatten(), head)


def with_stationary_norm() -> nn.Module:
    """In training mode, all but the norm, as detectors are fine-tuned."""
    module = convolved(2, nn.BatchNorm2d(4))
    module[1].eval()
    return module


CONVOLUTIONAL = {
    f"conv{dimensions}d, {kind}": case(
        lambda dimensions=dimensions, options=options: convolved(dimensions, **options), rows(6, *SHAPE[dimensions]), 2
    )
    for dimensions in (1, 2)
    for kind, options in CONVOLUTIONS.items()
} | {
    "conv2d, oblong": case(
        lambda: convolved(2, kernel_size=(2, 3), stride=(1, 2), padding=(1, 0), dilation=(2, 1)), rows(6, 4, 6, 5), 2
    ),
    "conv2d used twice": case(
        lambda: (lambda conv: nn.Sequential(conv, nn.Tanh(), conv, nn.Flatten(), nn.Linear(8, 2)))(nn.Conv2d(2, 2, 3)),
        rows(6, 2, 6, 6), 2,
    ),
    "conv2d last": case(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 3), nn.Flatten()), rows(6, 2, 5, 5), 2
    ),
    "conv2d, group norm": case(lambda: convolved(2, nn.GroupNorm(2, 4)), rows(6, 4, 6, 5), 2),
    "conv2d, layer norm": case(lambda: convolved(2, nn.LayerNorm([4, 4, 3])), rows(6, 4, 6, 5), 2),
    "conv2d, batch norm in evaluation mode": case(
        lambda: evaluated(convolved(2, nn.BatchNorm2d(4))), rows(6, 4, 6, 5), 2
    ),
    "conv2d, batch norm in evaluation mode alone": case(with_stationary_norm, rows(6, 4, 6, 5), 2),
    "conv2d, instance norm": case(lambda: convolved(2, nn.InstanceNorm2d(4, affine=True)), rows(6, 4, 6, 5), 2),
    "conv1d, batch norm in evaluation mode": case(lambda: evaluated(convolved(1, nn.BatchNorm1d(4))), rows(6, 4, 9), 2),
    "conv1d, group norm": case(lambda: convolved(1, nn.GroupNorm(2, 4)), rows(6, 4, 9), 2),
    "conv3d": case(
        lambda: nn.Sequential(nn.Conv3d(2, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 2)), rows(6, 2, 3, 3, 3), 2
    ),
    "transposed conv1d": case(
        lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)),
        rows(6, 2, 4), 2,
    ),
    "transposed conv2d": case(
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 2)),
        rows(6, 2, 3, 3), 2,
    ),
}  # fmt: skip


# --- Norms and embeddings, attention and recurrence.


def normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), norm, nn.Tanh(), nn.Linear(6, 2))


def tied_embedding() -> nn.Module:
    """As language models tie them: 3 words of 4 features, read out by the transpose."""
    module = Module(
        lambda parts, x: parts.out(torch.tanh(parts.embedding(x)).mean(1) + parts.shift),
        embedding=nn.Embedding(3, 4), shift=parameter(4), out=nn.Linear(4, 3),
    )  # fmt: skip
    module.out.weight = module.embedding.weight
    return module


def attend(parts: Any, x: Tensor) -> Tensor:
    return parts.out(parts.attention(x, x, x, need_weights=False)[0].mean(1))


def attend_tokens_first(parts: Any, x: Tensor) -> Tensor:
    x = x.transpose(0, 1)
    return parts.out(parts.attention(x, x, x, need_weights=False)[0].mean(0))


def last_state(body: nn.Module, width: int) -> nn.Module:
    return Module(lambda parts, x: parts.out(parts.body(x)[0][:, -1]), body=body, out=nn.Linear(width, 2))


SEQUENCES = {
    "layer norm": case(lambda: normed(nn.LayerNorm(6)), rows(6, 5), 2),
    "layer norm without bias": case(lambda: normed(nn.LayerNorm(6, bias=False)), rows(6, 5), 2),
    "rms norm": case(lambda: normed(nn.RMSNorm(6)), rows(6, 5), 2),
    "batch norm in evaluation mode": case(lambda: evaluated(normed(nn.BatchNorm1d(6))), rows(6, 5), 2),
    "batch norm without scale": case(lambda: evaluated(normed(nn.BatchNorm1d(6, affine=False))), rows(6, 5), 2),
    "layer norm of tokens": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.norm(parts.a(x)))).mean(1),
            a=nn.Linear(4, 6), norm=nn.LayerNorm(6), b=nn.Linear(6, 2),
        ),
        rows(6, 3, 4), 2,
    ),
    "embedding": case(lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), *mlp(9, 5, 2)), words(6, 3), 2),
    # Its padding row takes part in the outputs, but has no gradient.
    "embedding with padding": case(
        lambda: nn.Sequential(nn.Embedding(5, 3, padding_idx=1), nn.Flatten(), *mlp(9, 5, 2)), words(6, 3), 2
    ),
    "embedding used twice": case(
        lambda: Module(
            lambda parts, x: parts.out(torch.tanh(parts.embedding(x[:, 0]) * parts.embedding(x[:, 1:]).sum(1))),
            embedding=nn.Embedding(5, 4), out=nn.Linear(4, 2),
        ),
        words(6, 3), 2,
    ),
    "embedding tied with the last layer": case(tied_embedding, words(6, 2, vocabulary=3), 3),
    # Looked up once for all rows, and as many positions as rows.
    "embedding of positions": case(
        lambda: Module(
            lambda parts, x: parts.out(torch.tanh(parts.a(x) + parts.position(torch.arange(6)))).mean(1),
            a=nn.Linear(4, 5), position=nn.Embedding(6, 5), out=nn.Linear(5, 2),
        ),
        rows(6, 6, 4), 2,
    ),
    "embedding of positions, many rows": case(
        lambda: Module(
            lambda parts, x: parts.out(torch.tanh(parts.a(x) + parts.position(torch.arange(13)))).mean(1),
            a=nn.Linear(4, 5), position=nn.Embedding(13, 5), out=nn.Linear(5, 2),
        ),
        rows(13, 13, 4), 2,
    ),
    "attention": case(
        lambda: Module(attend, attention=nn.MultiheadAttention(4, 2, batch_first=True), out=nn.Linear(4, 2)),
        rows(6, 3, 4), 2,
    ),
    "attention, tokens before rows": case(
        lambda: Module(attend_tokens_first, attention=nn.MultiheadAttention(4, 2), out=nn.Linear(4, 2)),
        rows(6, 3, 4), 2,
    ),
    "transformer layer": case(
        lambda: evaluated(
            Module(
                lambda parts, x: parts.out(parts.body(x).mean(1)),
                body=nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), out=nn.Linear(4, 2),
            )
        ),
        rows(6, 3, 4), 2,
    ),
    "rnn": case(lambda: last_state(nn.RNN(3, 4, batch_first=True), 4), rows(6, 3, 3), 2),
    "gru": case(lambda: last_state(nn.GRU(3, 4, batch_first=True), 4), rows(6, 3, 3), 2),
    "lstm": case(lambda: last_state(nn.LSTM(3, 4, batch_first=True), 4), rows(6, 3, 3), 2),
    "lstm of two layers both ways": case(
        lambda: last_state(nn.LSTM(3, 3, num_layers=2, bidirectional=True, batch_first=True), 6), rows(6, 3, 3), 2
    ),
}  # fmt: skip


# --- Parameters of one's own, parametrised ones, and several inputs.


def pruned() -> nn.Module:
    # Its weight is a plain tensor that a hook makes anew at every call: such a module cannot be deep-copied.
    module = mlp(5, 7, 2)
    prune.random_unstructured(module[0], "weight", 0.4)
    return module


class Powers(nn.Module):
    """Raw parameters in torch's containers, one of them a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.3))
        self.powers = nn.ParameterList([parameter(5, 2) for _ in range(3)])
        self.named = nn.ParameterDict({"shift": parameter(2)})

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * sum(x**k @ w for k, w in enumerate(self.powers, 1)) + self.named["shift"]


OWN = {
    "einsum of raw parameters": case(
        lambda: Module(
            lambda parts, x: torch.einsum("nk,kab,nb->na", torch.tanh(x @ parts.v), parts.core, x),
            v=parameter(4, 3), core=parameter(3, 2, 4),
        ),
        rows(6, 4), 2,
    ),
    "bilinear in raw parameters": case(
        lambda: Module(
            lambda parts, x: (x @ parts.u) * (x @ parts.v) + parts.c,
            u=parameter(5, 2), v=parameter(5, 2), c=parameter(2),
        ),
        rows(6, 5), 2,
    ),
    "functional linear": case(
        lambda: Module(
            lambda parts, x: functional.linear(torch.tanh(functional.linear(x, parts.w, parts.b)), parts.v),
            w=parameter(6, 5), b=parameter(6), v=parameter(2, 6),
        ),
        rows(6, 5), 2,
    ),
    "containers of parameters": case(Powers, rows(6, 5), 2),
    # A layer that sees a parameter and no row.
    "a layer of a parameter": case(
        lambda: Module(
            lambda parts, x: parts.out(torch.tanh(parts.a(x) * parts.b(parts.code))),
            a=nn.Linear(5, 4), b=nn.Linear(3, 4), code=parameter(1, 3), out=nn.Linear(4, 2),
        ),
        rows(6, 5), 2,
    ),
    "weight norm": case(
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 2)), rows(6, 5), 2
    ),
    "spectral norm in evaluation mode": case(
        lambda: evaluated(nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 2))),
        rows(6, 5), 2,
    ),
    "orthogonal": case(
        lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(5, 5)), nn.Tanh(), nn.Linear(5, 2)), rows(6, 5), 2
    ),
    "weight norm of conv2d": case(
        lambda: nn.Sequential(
            parametrizations.weight_norm(nn.Conv2d(2, 3, 3)), nn.Tanh(), nn.Flatten(), nn.Linear(27, 2)
        ),
        rows(6, 2, 5, 5), 2,
    ),
    "pruned": case(pruned, rows(6, 5), 2),
    "nn.Bilinear": case(
        lambda: Module(
            lambda parts, x: parts.b(torch.tanh(parts.a(x[:, :3], x[:, 3:]))),
            a=nn.Bilinear(3, 2, 4), b=nn.Linear(4, 2),
        ),
        rows(6, 5), 2,
    ),
    "two inputs": case(
        lambda: Module(
            lambda parts, x, word: parts.out(torch.tanh(parts.a(x) + parts.b(word))),
            a=nn.Linear(5, 6), b=nn.Embedding(5, 6), out=nn.Linear(6, 2),
        ),
        lambda: (normal(6, 5), words(6)()), 2,
    ),
    "two inputs of a bilinear layer": case(
        lambda: nn.Bilinear(3, 4, 2), lambda: (normal(6, 3), normal(6, 4, seed=1)), 2
    ),
    "keyword inputs": case(
        lambda: Module(
            lambda parts, *, left, right: parts.out(torch.tanh(parts.a(left) * parts.b(right))),
            a=nn.Linear(5, 6), b=nn.Linear(3, 6), out=nn.Linear(6, 2),
        ),
        lambda: {"right": normal(6, 3, seed=1), "left": normal(6, 5)}, 2,
    ),
}  # fmt: skip


# --- Reversible networks.


def reversible(in_features: int = 6, out_features: int = 2, n: int = 6, **options: Any) -> Case:
    chosen = {"num_blocks": 2, "hidden_features": 12, "activation": "tanh", "first_activation": "tanh"} | options
    return Case(lambda: rev_mlp(in_features, out_features, **chosen), rows(n, in_features), out_features)


def of_images(network: type[nn.Module], shape: tuple[int, int, int], n: int, d_out: int = 2, **options: Any) -> Case:
    chosen = {"patch_size": 2, "num_blocks": 2, "hidden_features": 12, "activation": "tanh", "first_activation": "tanh"}
    made = chosen | {"init_std": 0.2, "dtype": torch.float64} | options
    return Case(
        lambda: network(shape, d_out, generator=torch.Generator().manual_seed(0), **made),
        rows(n, math.prod(shape)),
        d_out,
    )


def with_fixed_layers_between(hidden_features: int = 12) -> nn.Module:
    """Blocks of either kind, and between them what mixes their halves: all of the state, and pairs of its entries."""
    plain = rev_mlp(16, 2, num_blocks=2, hidden_features=hidden_features)
    shared = of_images(RevConv, (1, 4, 4), 1, hidden_features=hidden_features).make()
    generator = torch.Generator().manual_seed(1)
    pairs = torch.tensor([[1.0, 0.5], [-0.2, 2.0]], dtype=torch.float64)
    orthogonal = InvertibleLinear.orthogonal(16, generator=generator, dtype=torch.float64)
    order = Permutation(torch.randperm(16, generator=generator))
    blocks = [plain.blocks[0], orthogonal, shared.blocks[1], order, plain.blocks[1], InvertibleLinear(pairs)]
    made = {"generator": generator, "dtype": torch.float64}
    return ReversibleNetwork(blocks, in_features=16, out_features=2, state_features=16, **made)


REVERSIBLE = {
    "rev mlp": reversible(),
    "rev mlp, no biases": reversible(bias=False),
    "rev mlp, lifted": reversible(5, 2, state_features=8),
    "rev mlp, no bottleneck": reversible(8, 2, hidden_features=None),
    "rev mlp, linear first block": reversible(first_activation="identity"),
    "rev mlp, relu": reversible(activation="relu", first_activation="relu"),
    "rev mlp, gelu": reversible(activation="gelu", first_activation="silu", num_blocks=3),
    "rev mlp, sin": reversible(activation="sin", first_activation="softplus", out_features=1),
    "rev mlp, activation of one's own": reversible(activation=torch.sinh, first_activation=nn.ELU(inplace=True)),
    "rev mlp, frozen block": Case(
        lambda: frozen(rev_mlp(6, 2, num_blocks=2, hidden_features=12), "blocks.0."), rows(6, 6), 2
    ),
    "rev conv": of_images(RevConv, (2, 4, 4), 5),
    "rev conv, no biases": of_images(RevConv, (1, 4, 6), 4, bias=False),
    "rev conv, no bottleneck": of_images(RevConv, (2, 2, 4), 4, hidden_features=None, patch_size=1),
    "rev conv, linear first block": of_images(RevConv, (1, 4, 4), 5, first_activation="identity", kernel_size=1),
    "rev conv, wide windows": of_images(RevConv, (1, 6, 4), 3, kernel_size=5, activation="gelu"),
    "rev conv, activation of one's own": of_images(RevConv, (1, 4, 4), 5, activation=torch.sinh),
    "rev mixer": of_images(RevMixer, (2, 4, 4), 5),
    "rev mixer, no biases": of_images(RevMixer, (1, 4, 6), 4, bias=False, first_activation="identity"),
    "rev mixer, no bottleneck": of_images(RevMixer, (1, 4, 6), 4, hidden_features=None, activation="sin"),
    "reversible, fixed layers between": Case(with_fixed_layers_between, rows(6, 16), 2),
}

# Every module whose Jacobian must be right.
ZOO: dict[str, Case] = PERCEPTRONS | CONVOLUTIONAL | SEQUENCES | OWN | REVERSIBLE


# --- Modules that have an exact adjoint step: at least one layer is surjective, wider than the batch has rows.


def convolution_between(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(32, 2))


ADJOINT: dict[str, Case] = {
    "wide mlp": case(lambda: mlp(5, 24, 24, 3), rows(8, 5), 3),
    # Here the first layer is surjective too.
    "wide mlp of wide inputs": case(lambda: mlp(12, 24, 3), rows(8, 12), 3),
    "wide mlp, deep": case(lambda: mlp(5, 24, 32, 24, 28, 2), rows(8, 5), 2),
    "wide mlp, no biases": case(lambda: mlp(5, 24, 24, 3, bias=False), rows(8, 5), 3),
    "wide mlp, one output": case(lambda: mlp(5, 24, 24, 1), rows(8, 5), 1),
    "wide mlp, relu": case(lambda: mlp(5, 40, 40, 2, activation=nn.ReLU), rows(8, 5), 2),
    "wide mlp, a narrow layer between": case(lambda: mlp(5, 24, 4, 24, 3), rows(8, 5), 3),
    "wide mlp, frozen first layer": case(lambda: frozen(mlp(5, 24, 24, 3), "0."), rows(8, 5), 3),
    # Nothing reaches the outputs directly: all goes through A of the layers below.
    "wide mlp, frozen last layer": case(lambda: frozen(mlp(5, 24, 24, 3), "4."), rows(8, 5), 3),
    "wide mlp, frozen biases": case(lambda: frozen(mlp(5, 24, 24, 3), "2.bias", "4.bias"), rows(8, 5), 3),
    # A bias alone is not surjective: it stays where it is.
    "wide mlp, frozen weights": case(lambda: frozen(mlp(5, 24, 24, 3), "0.", "2.weight"), rows(8, 5), 3),
    "wide rev mlp": reversible(8, 3, n=8, hidden_features=40),
    "wide rev mlp, no biases": reversible(8, 3, n=8, hidden_features=40, bias=False),
    "wide rev mlp, lifted": reversible(5, 2, n=8, hidden_features=40, state_features=8),
    "wide rev mlp, no bottleneck": reversible(24, 3, n=8, hidden_features=None),
    "wide rev mlp, linear first block": reversible(8, 3, n=8, hidden_features=40, first_activation="identity"),
    "wide rev mlp, relu and gelu": reversible(
        8, 1, n=8, hidden_features=60, num_blocks=3, activation="gelu", first_activation="relu"
    ),
    "wide rev mlp, frozen block": Case(
        lambda: frozen(rev_mlp(8, 3, num_blocks=2, hidden_features=40), "blocks.0."), rows(8, 8), 3
    ),
    "wide rev mlp, frozen half": Case(
        lambda: frozen(rev_mlp(8, 3, num_blocks=2, hidden_features=40), "blocks.0.f."), rows(8, 8), 3
    ),
    # Layers of several positions, which are surjective where they are as wide as rows times positions.
    "wide conv": case(lambda: convolution_between(nn.Conv2d(3, 8, 3)), rows(6, 3, 4, 4), 2),
    "wide conv, no bias": case(lambda: convolution_between(nn.Conv2d(3, 8, 3, bias=False)), rows(6, 3, 4, 4), 2),
    "wide conv after a narrow one": case(
        lambda: convolution_between(nn.Conv2d(2, 4, 2), nn.Tanh(), nn.Conv2d(4, 8, 3)), rows(6, 2, 5, 5), 2
    ),
    "wide layer of tokens": case(lambda: convolution_between(nn.Linear(30, 8)), rows(6, 4, 30), 2),
    "wide rev conv": of_images(RevConv, (2, 4, 4), 5, hidden_features=60),
    "wide rev conv, no biases": of_images(RevConv, (1, 4, 6), 4, hidden_features=60, bias=False),
    "wide rev conv, linear first block": of_images(
        RevConv, (1, 4, 6), 4, hidden_features=60, activation="gelu", first_activation="identity"
    ),
    "wide rev conv, frozen half": Case(
        lambda: frozen(of_images(RevConv, (2, 4, 4), 5, hidden_features=60).make(), "blocks.1.f."), rows(5, 32), 2
    ),
    "wide rev mixer": of_images(RevMixer, (2, 4, 4), 5, hidden_features=80),
    "wide reversible, fixed layers between": Case(lambda: with_fixed_layers_between(60), rows(6, 16), 2),
}


# --- Modules that have no Jacobian of independent rows: what to raise, and a part of what it says.


class Own(Exception):
    """What a user's forward pass raises."""


def raising(parts: Any, x: Tensor) -> Tensor:
    raise Own("the user's own message")


class Counting(nn.Module):
    """Its outputs depend on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.a(x) * self.calls


def attend_to_other_rows(parts: Any, x: Tensor) -> Tensor:
    h = parts.a(x)
    return torch.softmax(h @ h.mT, -1) @ h


Refused = tuple[Callable[[], nn.Module], Callable[[], Inputs], type[Exception] | tuple[type[Exception], ...], str]

REFUSED: dict[str, Refused] = {
    "batch norm in training mode": (drawn(lambda: normed(nn.BatchNorm1d(6))), rows(6, 5), ValueError, r"eval\(\)"),
    "batch norm without statistics": (
        drawn(lambda: normed(nn.BatchNorm1d(6, track_running_stats=False))), rows(6, 5), ValueError, "rows",
    ),
    "dropout in training mode": (
        drawn(lambda: nn.Sequential(nn.Linear(5, 40), nn.Dropout(), nn.Linear(40, 2))), rows(6, 5), ValueError,
        "random|differ",
    ),
    "rows less their mean": (
        drawn(lambda: Module(lambda parts, x: (lambda h: h - h.mean(0))(parts.a(x)), a=nn.Linear(5, 2))), rows(6, 5),
        ValueError, "rows",
    ),
    # More rows than a check on the first few of them would see.
    "many rows less their mean": (
        drawn(lambda: Module(lambda parts, x: (lambda h: h - h.mean(0))(parts.a(x)), a=nn.Linear(5, 2))), rows(13, 5),
        ValueError, "rows",
    ),
    "rows that attend to each other": (
        drawn(lambda: Module(attend_to_other_rows, a=nn.Linear(5, 2))), rows(6, 5), ValueError, "rows",
    ),
    "spectral norm in training mode": (
        drawn(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 2))),
        rows(6, 5), ValueError, "random|differ|buffer|chang",
    ),
    "outputs that depend on the number of calls": (
        drawn(Counting), rows(6, 5), ValueError, "random|differ|buffer|chang",
    ),
    "outputs (n,)": (
        drawn(lambda: Module(lambda parts, x: parts.a(x)[:, 0], a=nn.Linear(5, 2))), rows(6, 5), ValueError, "d_out",
    ),
    "outputs (n, 2, 3)": (
        drawn(lambda: nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3)))), rows(6, 5), ValueError, "d_out",
    ),
    "outputs of fewer rows": (
        drawn(lambda: Module(lambda parts, x: parts.a(x)[1:], a=nn.Linear(5, 2))), rows(6, 5), ValueError, "d_out|rows",
    ),
    "a tuple of outputs": (
        drawn(lambda: Module(lambda parts, x: (parts.a(x), x), a=nn.Linear(5, 2))), rows(6, 5), (TypeError, ValueError),
        "d_out",
    ),
    "no trainable parameter": (drawn(lambda: mlp(5, 6, 2).requires_grad_(False)), rows(6, 5), ValueError, "trainable"),
    "no parameter": (nn.Tanh, rows(6, 5), ValueError, "trainable"),
    "complex parameters": (
        lambda: nn.Linear(5, 2, dtype=torch.complex128), lambda: normal(6, 5, dtype=torch.complex128),
        (TypeError, ValueError), "complex",
    ),
    "half parameters": (
        lambda: nn.Linear(5, 2).half(), lambda: normal(6, 5).half(), (TypeError, ValueError), "float16|half",
    ),
    "a forward pass that raises": (
        drawn(lambda: Module(raising, a=nn.Linear(5, 2))), rows(6, 5), Own, "the user's own message",
    ),
}  # fmt: skip
