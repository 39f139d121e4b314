"""Which blocks of a reversible network may move: asked at every batch, as networks change after they were made."""

from collections.abc import Sequence

from torch import nn

from revgn.linear.layers import own
from revgn.nn import Coupling, ReversibleBlock, ReversibleNetwork


def require_reversible(model: nn.Module) -> ReversibleNetwork:
    """The model, if it is reversible.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(model, ReversibleNetwork):
        raise TypeError(
            f"model is a {type(model).__name__}, not a revgn.nn.ReversibleNetwork such as revgn.RevMLP; for any other "
            "module use right_inverse='moore-penrose' or 'adjoint'"
        )
    return model


def trainable_blocks(network: ReversibleNetwork, parameters: Sequence[nn.Parameter]) -> list[int]:
    """The blocks all of whose weights may change.

    Raises:
        ValueError: parameters that may change but have no closed form; a weight that blocks share; no block is left.
    """
    chosen = set(parameters)
    owners: dict[nn.Parameter, list[Coupling]] = {}
    trainable: list[int] = []
    for index, block in enumerate(network.layers):
        if not isinstance(block, ReversibleBlock):
            continue
        parametrised = any(own(coupling.linear, "weight") is None for coupling in block.couplings)
        weights = [(own(c.linear, name), c) for c in block.couplings for name in ("weight", "bias")]
        held = [(p, coupling) for p, coupling in weights if p is not None]
        for p, coupling in held:
            owners.setdefault(p, []).append(coupling)
        if not parametrised and all(p in chosen for p, _ in held):
            trainable.append(index)
    names = {p: name for name, p in network.named_parameters()}
    strange = [names[p] for p in parameters if p not in owners]
    if strange:
        raise ValueError(
            f"{', '.join(strange[:3])} can be trained but is no weight or bias of a half-coupling's linear layer, so "
            "that the reversible step would leave it out; freeze it with requires_grad_(False), remove its "
            "parametrisation, or use right_inverse='moore-penrose'"
        )
    shared = [names[p] for p, couplings in owners.items() if p in chosen and len(couplings) > 1]
    if shared:
        raise ValueError(
            f"{', '.join(shared[:3])} is the weight of several half-couplings, which the reversible step would move "
            "once for each; give each its own, or use right_inverse='moore-penrose'"
        )
    if not trainable:
        raise ValueError(
            "no block has all its parameters trainable and in this optimizer; unfreeze one, or pass it in params"
        )
    return trainable
