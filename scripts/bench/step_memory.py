"""How much memory a training step takes, measured in a process of its own per row."""

import weakref
from collections.abc import Callable

import torch
from torch import nn


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field}")


def peak_mib(make_step: Callable[[], Callable[[], object]]) -> float:
    """Peak resident memory of the third step above what the process held before the model."""
    before = resident("VmRSS")
    step = make_step()
    step()
    step()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")
    step()
    return resident("VmHWM") - before


class Packed:
    """What the graph holds instead of a saved tensor, as long as the node lives."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def saved_mib(model: nn.Module, inputs: torch.Tensor, bfloat16: bool) -> float:
    """Distinct memory that a forward keeps for backward, less parameters and inputs."""
    alive: weakref.WeakSet[Packed] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Packed:
        packed = Packed(tensor)
        alive.add(packed)
        return packed

    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed.tensor),
    ):
        output = model(inputs)
    storages = [packed.tensor.untyped_storage() for packed in alive]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), inputs)}
    del output
    return sum(size for address, size in sizes.items() if address not in owned) / 2**20
