"""Several processes that train one model.

Accelerate says who they are and moves numbers between them. The model is whole in each (DDP), or
divided among them (FSDP2).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from viae.errors import MissingExtraError
from viae.model.base import BaseModel


def accelerator(**options: Any) -> Any:
    """An `accelerate.Accelerator` as `viae.train.base.train_base` takes it.

    How many processes there are, and on which devices, is as they were launched: by ``accelerate
    launch`` or ``torchrun``. One process on a GPU is served, too.

    Args:
        options: of the `Accelerator`, such as ``cpu=True``.

    Raises:
        MissingExtraError: Accelerate is not installed.
    """
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError as error:
        raise MissingExtraError("accelerate", extra="train") from error
    # A batch need not ask for everything: what nobody used has no gradient, as in one process.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(kwargs_handlers=handlers, **options)


def shard(model: BaseModel, several: Any) -> None:
    """Divide a model's weights, and so gradients and moments, among processes: in place, by FSDP2.

    It is PyTorch's own ``fully_shard``: Accelerate's plugin for it knows no CPU, so that nobody
    could test it there. Layers of the trunk are put together one at a time. The depth decoder is
    not: how often it is called depends on what a process asks for, and all must call alike often.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(several.device.type, (several.num_processes,))
    model.to(several.device)
    trunk: Any = model.trunk
    for layer in getattr(trunk, "layers", ()):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def sharded(model: nn.Module) -> bool:
    """Whether a model is divided among processes."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


__all__ = ["accelerator", "shard", "sharded"]
