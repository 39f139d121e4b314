"""Networks whose features lie in several processes: each of them holds a part of every half-coupling's width."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from revgn.linear.sharded import is_sharded
from revgn.nn import Coupling, RandomFeatures, ReversibleNetwork, SharedFeatures
from revgn.nn.activations import Activation

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import Placement

__all__ = ["parallelize"]

_Network = TypeVar("_Network", bound=ReversibleNetwork)


def parallelize(model: _Network, mesh: "DeviceMesh") -> _Network:
    """Shard every half-coupling of a network over its features, in place: a part of h in each process.

    For layers that are too wide for one device. Each process holds all rows of the batch and the small tensors (state,
    outputs, targets, biases), and of the projection V (d/2, h), of the weights, their changes and momentum, and of the
    features (n, h) its columns alone. `GaussNewton(model, loss)` then takes the step that it takes of the plain
    network; the largest tensors that a solve sends are n x n Gram matrices, and weights and features are never sent.
    Outputs are plain tensors, the same in all processes.

        mesh = torch.distributed.init_device_mesh("cpu", (4,))
        model = revgn.parallel.parallelize(revgn.RevMLP(784, 10, num_blocks=4, hidden_features=8000), mesh)
        optimizer = revgn.GaussNewton(model, loss)  # after the model was parallelized

    All processes make the same network, call this, and take the same steps with the same batches, as they would with
    the plain one. What the network holds is taken from the first process of the mesh. Parameters become new ones, of
    `torch.distributed.tensor.DTensor`: make optimizers afterwards. State dicts hold DTensors, which
    `torch.distributed.checkpoint` saves and loads on any number of processes.

    Args:
        model: of couplings with `RandomFeatures` of a bottleneck, or `SharedFeatures` of these: a `RevMLP`, `RevConv`
            or `RevMixer` with `hidden_features`.
        mesh: of one dimension, as of `torch.distributed.init_device_mesh`; one of a larger mesh is `mesh["name"]`.

    Returns:
        The same model.

    Raises:
        TypeError: the model is no `ReversibleNetwork`, or the mesh no `DeviceMesh`.
        ValueError: the mesh has several dimensions; a process would have no features; features that are not random
            ones of a bottleneck, or an activation that is not elementwise; weights that are parametrised, pruned or
            distributed already. The model is then as it was.

    Source: the row-parallel half of the layers of Shoeybi et al. (2019), Megatron-LM; tensor parallelism of
    torch.distributed.tensor.
    """
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import Replicate, Shard

    if not isinstance(model, ReversibleNetwork):
        raise TypeError(
            f"model is a {type(model).__name__}, not a revgn.nn.ReversibleNetwork such as revgn.RevMLP, whose features "
            "are sharded; for any other module give each process some rows: GaussNewton(model, loss, group=...)"
        )
    if not isinstance(mesh, DeviceMesh):
        raise TypeError(
            f"mesh is a {type(mesh).__name__}; expected torch.distributed.init_device_mesh(device_type, (processes,))"
        )
    if mesh.ndim != 1:
        raise ValueError(
            f"a mesh of shape {tuple(mesh.shape)}; features are sharded over one dimension: give one of them by its "
            "name, mesh['name']"
        )
    found = _couplings(model, mesh.size())
    wide = {id(held) for coupling, features in found for held in (coupling.linear.weight, features.projection)}
    for module in dict.fromkeys(part for coupling, features in found for part in (coupling.linear, features)):
        for held in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
            for name, tensor in held.items():
                if tensor is not None:
                    placement = Shard(1) if id(tensor) in wide else Replicate()
                    # Into the registry itself, the one way in for both kinds.
                    held[name] = _distributed(tensor, mesh, placement)  # pyright: ignore[reportArgumentType]
    _share_others(model, mesh)
    return model


def _couplings(model: ReversibleNetwork, processes: int) -> list[tuple[Coupling, RandomFeatures]]:
    """The half-couplings with what projects in their features.

    Raises:
        ValueError: some cannot be sharded over so many processes.
    """
    found: list[tuple[Coupling, RandomFeatures]] = []
    for name, module in model.named_modules():
        if not isinstance(module, Coupling):
            continue
        outer = module.features
        features = outer.features if isinstance(outer, SharedFeatures) else outer
        if not isinstance(features, RandomFeatures) or features.projection is None:
            kind = type(features).__name__ + (" without a bottleneck" if isinstance(features, RandomFeatures) else "")
            raise ValueError(
                f"{name} has {kind}; features are sharded by the columns of their projection V: use RandomFeatures of "
                "some hidden_features"
            )
        parameters = module.linear._parameters  # pyright: ignore[reportPrivateUsage]
        if parameters.get("weight") is None:
            raise ValueError(f"{name}.linear.weight is parametrised or pruned, no parameter; remove that first")
        if any(tensor is not None and is_sharded(tensor) for tensor in (*parameters.values(), features.projection)):
            raise ValueError(f"{name} is distributed already; make the model anew to give it another mesh")
        h = features.out_features
        part = -(-h // processes)  # as torch.chunk cuts: the first processes have most
        if part * (processes - 1) >= h:
            raise ValueError(
                f"{name} has {h} features, in parts of {part} too few for {processes} processes, one of which would "
                f"have none; use a multiple of {processes} as hidden_features, or fewer processes"
            )
        if not _is_elementwise(features.activation, features.projection):
            raise ValueError(
                f"the activation of {name} is not elementwise, so that no process can take it of its own features "
                "alone; use a name such as 'relu', or a function of each entry"
            )
        found.append((module, features))
    return found


def _is_elementwise(activation: Callable[[Tensor], Tensor], like: Tensor) -> bool:
    """Whether an activation does the same to each entry, as far as a few of them tell."""
    if isinstance(activation, Activation):
        return True
    probe = torch.linspace(-2, 2, 35, dtype=like.dtype, device=like.device).view(5, 7)
    if probe.is_meta:
        return True
    try:
        with torch.no_grad():
            all_at_once = activation(probe.clone())
            part = activation(probe[1:3, 2:5].flip(1)).flip(1)
    except (RuntimeError, ValueError, IndexError):  # what takes h columns takes no fewer
        return False
    return part.shape == (2, 3) and torch.allclose(all_at_once[1:3, 2:5], part)


def _distributed(tensor: Tensor, mesh: "DeviceMesh", placement: "Placement") -> Tensor:
    """The tensor of the mesh's first process as a DTensor; of a parameter a parameter."""
    from torch.distributed.tensor import distribute_tensor

    spread = distribute_tensor(tensor.detach(), mesh, [placement])
    return nn.Parameter(spread, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else spread


@torch.no_grad()
def _share_others(model: nn.Module, mesh: "DeviceMesh") -> None:
    """Bring what stays plain to the mesh's device, and to the values of its first process."""
    for tensor in (*model.parameters(), *model.buffers()):
        if is_sharded(tensor) or tensor.is_meta:
            continue
        values = tensor.detach().to(mesh.device_type).contiguous()  # as collectives want them
        dist.broadcast(values, group=mesh.get_group(), group_src=0)
        tensor.data = values
        torch.autograd.graph.increment_version(tensor)  # what was had of the old values is to be had anew
