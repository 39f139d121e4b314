"""What parameters must be for a step to exist."""

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor, nn

from revgn.linear import Processes
from revgn.linear.sharded import is_sharded
from revgn.right_inverses import RightInverse
from revgn.solvers.solver import EXACT

# In place of parameters that something else than `parallelize` has distributed.
_INSTEAD = (
    "use right_inverse='reversible' with a network of revgn.parallel.parallelize, or the plain model with its rows "
    "over processes: GaussNewton(model, loss, group=torch.distributed.group.WORLD), as under DistributedDataParallel"
)


def require_own_shapes(named: Mapping[str, nn.Parameter]) -> None:
    """Refuse what FullyShardedDataParallel has made of parameters: with them a step ends the process, or is lost.

    Raises:
        ValueError: one is a part of a flat parameter, or is one.
    """
    # The mark is torch's own, of a flat parameter as of those laid into it.
    flat = next((name for name, p in named.items() if getattr(p, "_fsdp_flattened", False)), None)
    if flat is not None:
        raise ValueError(
            f"{flat} is FullyShardedDataParallel's (FSDP): laid end to end with others, and a part of that in each "
            f"process, where a step needs it whole; {_INSTEAD}"
        )


def require_parameters(named: Mapping[str, nn.Parameter]) -> None:
    """Refuse parameters that no derivative can be taken by, or none that is exact.

    Raises:
        ValueError: one is of half precision or no number, was made in inference mode, or is FSDP's.
    """
    require_own_shapes(named)
    for name, p in named.items():
        if p.dtype not in EXACT:
            raise ValueError(f"{name} is {p.dtype}; Gauss-Newton needs float32 or float64: model.float()")
        if p.is_inference():
            raise ValueError(
                f"{name} was made in torch.inference_mode, where autograd has no part; expected an ordinary parameter: "
                "make or load the model outside of inference mode"
            )


def trainable_of(held: Collection[Tensor], named: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Those of a model's parameters that may change, by name, of all that an optimizer holds.

    Raises:
        ValueError: the optimizer holds others; none is trainable.
    """
    foreign = set(held) - set(named.values())
    if foreign:
        raise ValueError(
            f"{len(foreign)} of the {len(held)} parameters of this optimizer are not the model's: they belong to "
            "another module (a copy?), or load_state_dict(assign=True), fully_shard or FSDP has replaced them; make "
            "the optimizer anew"
        )
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    if not trainable:
        raise ValueError(
            "no parameter of this optimizer is trainable; call requires_grad_(True) on some, or pass others"
        )
    return trainable


def require_shards_fit(parameters: Iterable[Tensor], right_inverse: RightInverse, processes: Processes | None) -> None:
    """Refuse parameters that are distributed over a mesh where they are needed whole.

    Raises:
        ValueError: some are, and the right inverse does not take them, or rows lie in several processes too.
    """
    if not any(is_sharded(p) for p in parameters):
        return
    if not right_inverse.takes_shards:
        raise ValueError(
            f"parameters are DTensors, distributed over a mesh, and {type(right_inverse).__name__} needs them whole; "
            f"{_INSTEAD}"
        )
    if processes is not None:
        raise ValueError(
            "parameters are DTensors, distributed over a mesh, and rows are to lie in several processes as well "
            "(group=, or DistributedDataParallel); expected one of the two: leave the group out and give each process "
            "of the mesh all rows, or do not shard the model (parallelize, fully_shard)"
        )
