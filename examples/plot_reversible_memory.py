"""
Running the network backwards to save memory
============================================

A reversible network rebuilds what it computed on the way forward from its last state. With `keep_features=False` the
step does that, and the memory that it holds no longer grows with the depth.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import revgn

torch.manual_seed(0)
ROWS, WIDTH, FEATURES = 128, 64, 256
inputs, targets = torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randn(ROWS, 2, dtype=torch.float64)


def network(blocks: int) -> revgn.RevMLP:
    """A network of so many blocks."""
    generator = torch.Generator().manual_seed(0)
    return revgn.RevMLP(
        WIDTH,
        2,
        num_blocks=blocks,
        hidden_features=FEATURES,
        first_activation="relu",
        dtype=torch.float64,
        generator=generator,
    )


# %%
# There and back
# --------------
# The inverse is exact by construction: every block subtracts what it had added.

model = network(12)
with torch.no_grad():
    back = model.inverse(model.state(inputs))
print(f"inputs recovered up to {float((back - inputs).abs().max()):.1e}")

# %%
# Counting bytes
# --------------
# The sizes of all tensors that are alive at once, and the most of them during a step. The step itself, as large as
# the parameters, is taken off: it has to be held anyway.


class Counted(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, now and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run the operation, and note the storages of its results until they are freed."""
        import weakref

        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if key not in self.known and key not in given:
                    self.known.add(key)
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self.release, key, size)
        return result

    def release(self, key: int, size: int) -> None:
        """A storage was freed."""
        self.known.discard(key)
        self.now -= size


depths = [1, 2, 4, 8, 16]
memory: dict[bool, list[float]] = {True: [], False: []}
for keep in memory:
    for depth in depths:
        model = network(depth)
        optimizer = revgn.GaussNewton(model, revgn.losses.MSELoss(), keep_features=keep)
        with Counted() as counted:
            report = optimizer.backward(inputs, targets)
        assert report.exact
        step = sum(p.grad.untyped_storage().nbytes() for p in model.parameters() if p.grad is not None)
        memory[keep].append((counted.peak - step) / 1e6)
for keep, values in memory.items():
    print(f"keep_features={keep!s:<5} MB by depth: " + ", ".join(f"{value:.1f}" for value in values))

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for keep, values in memory.items():
    axes.plot(depths, values, "o-", label=f"keep_features={keep}")
axes.set(xlabel="blocks", ylabel="MB beyond parameters and step", ylim=(0, None))
axes.legend(frameon=False)
plt.show()
