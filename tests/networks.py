"""Networks and problems that the tests draw from."""

import hypothesis.strategies as st
import torch

import revgn

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "gelu", "silu", "softplus", "sin")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def classes(n, num_classes, seed=0):
    return torch.randint(num_classes, (n,), generator=torch.Generator().manual_seed(seed))


def rev_mlp(in_features=16, out_features=3, *, seed=0, dtype=torch.float64, **options):
    """A small network whose weights are large enough for every path through it to matter."""
    chosen = {"num_blocks": 3, "hidden_features": 64, "activation": "tanh", "first_activation": "tanh", "init_std": 0.2}
    generator = torch.Generator().manual_seed(seed)
    return revgn.RevMLP(in_features, out_features, dtype=dtype, generator=generator, **(chosen | options))


@st.composite
def architectures(draw):
    """Arguments of RevMLP: bottleneck or not, bias or not, lifted or not, 1 to 6 blocks, 1 to 12 outputs."""
    in_features = draw(st.integers(1, 24))
    out_features = draw(st.integers(1, 12))
    state = draw(st.sampled_from([None, 32, 48]))
    return {
        "in_features": in_features,
        "out_features": out_features,
        "num_blocks": draw(st.integers(1, 6)),
        "hidden_features": draw(st.sampled_from([None, 40, 64])),
        "state_features": state,
        "activation": draw(st.sampled_from(["relu", "tanh", "gelu", "sin"])),
        "first_activation": draw(st.sampled_from(["identity", "relu", "tanh", "gelu", "sin"])),
        "bias": draw(st.booleans()),
        "init_std": draw(st.sampled_from([1e-3, 0.05, 0.2])),
        "seed": draw(st.integers(0, 1000)),
    }
