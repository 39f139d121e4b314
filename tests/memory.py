"""Memory of a computation, counted tensor by tensor: the same on every machine."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """The storages that operations inside the context make: sizes, and bytes alive at once, now and at most."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.sizes = []
        self._known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage(), given)
        return result

    def _watch(self, storage, given):
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in given:
            return
        self._known.add(key)
        self.sizes.append(size)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key, size):
        self._known.discard(key)
        self.now -= size


def storages_made(run, size):
    """How many storages of just so many bytes `run` makes."""
    with PeakMemory() as memory:
        run()
    return memory.sizes.count(size)
