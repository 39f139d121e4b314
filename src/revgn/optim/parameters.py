"""What parameters must be for a step to exist."""

from collections.abc import Mapping

from torch import nn

from revgn.solvers.solver import EXACT


def require_parameters(named: Mapping[str, nn.Parameter]) -> None:
    """Refuse parameters that no derivative can be taken by, or none that is exact.

    Raises:
        ValueError: one is of half precision or no number, or was made in inference mode.
    """
    for name, p in named.items():
        if p.dtype not in EXACT:
            raise ValueError(f"{name} is {p.dtype}; Gauss-Newton needs float32 or float64: model.float()")
        if p.is_inference():
            raise ValueError(
                f"{name} was made in torch.inference_mode, where autograd has no part; expected an ordinary parameter: "
                "make or load the model outside of inference mode"
            )
