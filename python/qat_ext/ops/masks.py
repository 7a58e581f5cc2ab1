"""Rule 4 as one bit for each element: what writes the mask, and the gradient that takes it."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

_ops = torch.ops.qat_ext


def fake_quantize_with_mask(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> tuple[Tensor, Tensor]:
    """:func:`fake_quantize` and rule 4's mask, which :func:`straight_through` takes instead of `x`.

    Args:
        x, scale, zero_point, axis, quant_min, quant_max: as in :func:`fake_quantize`.

    Returns:
        Tensor of the shape and type of `x`, without a gradient of its own, and the mask: uint8, a
        bit for each element in the order in which that tensor lies in memory, lowest bit first.

    Raises:
        ValueError: as :func:`fake_quantize`.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-9.0, 0.3, 9.0])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> y, mask = qat_ext.ops.fake_quantize_with_mask(x, scale, zero, quant_min=0, quant_max=15)
    >>> y.tolist(), mask.tolist()
    ([-1.0, 0.5, 6.5], [2])
    """
    return cast(
        tuple[Tensor, Tensor],
        _ops.fake_quantize_with_mask(
            x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max
        ),
    )


def quantize_with_mask(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`quantize` with the mask of :func:`fake_quantize_with_mask` and the range of `x`.

    Args:
        x, scale, zero_point, axis, quant_min, quant_max: as in :func:`fake_quantize`.

    Returns:
        Codes; the mask, its bits in the memory order of the codes; and float32[2], the smallest and
        the largest finite element, ``[0, 0]`` where there is none.

    Raises:
        ValueError: as :func:`fake_quantize`.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-9.0, 0.3, 9.0])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> found = qat_ext.ops.quantize_with_mask(x, scale, zero, quant_min=0, quant_max=15)
    >>> [tensor.tolist() for tensor in found]
    [[0, 3, 15], [2], [-9.0, 9.0]]
    """
    return cast(
        tuple[Tensor, Tensor, Tensor],
        _ops.quantize_with_mask(
            x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max
        ),
    )


def straight_through(grad: Tensor, mask: Tensor, *, stride: Sequence[int]) -> Tensor:
    """The gradient where its bit of a mask is set, else 0 (rule 4).

    Args:
        grad: gradient of the result that came with `mask`, or of what its codes stand for.
        mask: of :func:`fake_quantize_with_mask` or :func:`quantize_with_mask`.
        stride: of that result.

    Returns:
        Tensor of the shape and type of `grad`, with the strides `stride`.

    Raises:
        ValueError: when `mask` has not one bit per element, rounded up to bytes, or when `stride`
            leaves gaps in memory.

    >>> import torch, qat_ext
    >>> mask = torch.tensor([0b101], dtype=torch.uint8)
    >>> qat_ext.ops.straight_through(torch.tensor([1.0, 2.0, 3.0]), mask, stride=[1]).tolist()
    [1.0, 0.0, 3.0]
    """
    return cast(Tensor, _ops.straight_through(grad, mask, stride=stride))
