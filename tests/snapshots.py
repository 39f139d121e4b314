"""All that a step may change, as it stands: to be compared with how it stands later, to the bit."""

import torch
from torch.utils._pytree import keystr, tree_flatten_with_path


def everything(model, optimizer):
    """Every tensor and number of the model, its `.grad` and the optimizer's state, by its place; tensors as bytes."""
    grads = [p.grad for p in model.parameters()]
    held = (model.state_dict(), optimizer.state_dict(), grads, [p.requires_grad for p in model.parameters()])
    found, form = tree_flatten_with_path(held)
    bits = {
        keystr(path): leaf.detach().numpy().tobytes() if isinstance(leaf, torch.Tensor) else leaf
        for path, leaf in found
    }
    return bits | {"form": str(form)}  # empty dicts have no leaves


def switches():
    """What torch keeps for the whole process, and a step has turned on or off."""
    return {
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "cuda": torch.backends.cuda.matmul.fp32_precision,
        "cpu": torch.backends.mkldnn.matmul.fp32_precision,
        "autograd": torch.is_grad_enabled(),
    }
