"""The models that the benchmarks share."""

import functools
from types import ModuleType

import torch


@functools.cache
def torchvision_models() -> ModuleType:
    """torchvision's model definitions; beside a CPU torch two of its schemas are missing."""
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema.removeprefix(name))
    import torchvision

    return torchvision.models
