"""Exact integer accumulators and what follows them: rules 6 and 7."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

_ops = torch.ops.qat_ext


def _per_axis(sizes: Sequence[int], spatial: int) -> list[int]:
    return list(sizes) * spatial if len(sizes) == 1 else list(sizes)


def conv_int(
    codes: Tensor,
    zero_point: int,
    weight: Tensor,
    *,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """Convolution of codes, accumulated exactly: ``sum((q_x - zero_point) * q_w)`` (rule 6).

    Padding contributes centred zero. The result of a 4-d call is channels-last in memory.

    Args:
        codes: uint8 or int8 [N, C, spatial...] with 1 to 3 spatial axes, or without N.
        zero_point: code of zero.
        weight: int8 [K, C / groups, kernel...]; transposed: [C, K / groups, kernel...].
        stride, padding, dilation, output_padding: one number, or one per spatial axis.
        groups: divides C and K.
        transposed: transposed convolution; only then may `output_padding` differ from 0.

    Returns:
        float32 [N, K, spatial...]: the accumulators, converted to the nearest float.

    Raises:
        ValueError: when a type, a shape or a size breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([[[3, 4, 5]]], dtype=torch.uint8)
    >>> weight = torch.tensor([[[1, -2]]], dtype=torch.int8)
    >>> qat_ext.ops.conv_int(codes, 3, weight).tolist()
    [[[-2.0, -3.0]]]
    """
    spatial = weight.dim() - 2
    return cast(
        Tensor,
        _ops.conv_int(
            codes,
            zero_point,
            weight,
            stride=_per_axis(stride, spatial),
            padding=_per_axis(padding, spatial),
            dilation=_per_axis(dilation, spatial),
            output_padding=_per_axis(output_padding, spatial),
            groups=groups,
            transposed=transposed,
        ),
    )


def conv_int_backward(
    grad: Tensor,
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    *,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    transposed: bool = False,
    products: str = "float32",
    input_grad: bool = True,
    weight_grad: bool = True,
) -> tuple[Tensor, Tensor]:
    """Gradients of ``conv_int(...) * (scale * weight_scale[k])``, straight through the rounding.

    Args:
        grad: floating point, of the shape of the result.
        codes: uint8 or int8 [N, C, spatial...].
        scale: float32[1], of the codes.
        zero_point: int32[1].
        weight: int8, as in :func:`conv_int`.
        weight_scale: float32[K].
        stride, padding, dilation, output_padding, groups, transposed: as in :func:`conv_int`.
        products: "float32"; "int16", for which the gradient is rounded to 32767 steps (on the
            CPU, for dense 2-d convolutions, elsewhere as "float32"); or "bfloat16", for which
            `grad` times `weight_scale` and the results are rounded to 8 bits, codes and weights
            stay as they are, and sums are float32 (not for depthwise convolutions on the CPU,
            which stay "float32"). `weight_scale` must not be 0 then.
        input_grad: whether the gradient of the dequantized codes is wanted.
        weight_grad: whether the gradient of the dequantized weight is wanted.

    Returns:
        (float32 like `codes`, float32 like `weight`); what is not wanted has no elements.

    Raises:
        ValueError: when a type, a shape or a size breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([[[3, 4, 5]]], dtype=torch.uint8)
    >>> weight = torch.tensor([[[1, -2]]], dtype=torch.int8)
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([3], dtype=torch.int32)
    >>> d_input, d_weight = qat_ext.ops.conv_int_backward(
    ...     torch.ones(1, 1, 2), codes, scale, zero, weight, torch.tensor([0.25])
    ... )
    >>> d_input.tolist(), d_weight.tolist()
    ([[[0.25, -0.25, -0.5]]], [[[0.5, 1.5]]])
    """
    spatial = weight.dim() - 2
    return cast(
        tuple[Tensor, Tensor],
        _ops.conv_int_backward(
            grad,
            codes,
            scale,
            zero_point,
            weight,
            weight_scale,
            stride=_per_axis(stride, spatial),
            padding=_per_axis(padding, spatial),
            dilation=_per_axis(dilation, spatial),
            output_padding=_per_axis(output_padding, spatial),
            groups=groups,
            transposed=transposed,
            products=products,
            input_grad=input_grad,
            weight_grad=weight_grad,
        ),
    )


def linear_int(codes: Tensor, zero_point: int, weight: Tensor) -> Tensor:
    """Linear layer on codes, accumulated exactly (rule 6).

    Args:
        codes: uint8 or int8 [..., C].
        zero_point: code of zero.
        weight: int8 [K, C].

    Returns:
        float32 [..., K]: the accumulators, converted to the nearest float.

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([[3, 5]], dtype=torch.uint8)
    >>> weight = torch.tensor([[1, 2], [-1, 4]], dtype=torch.int8)
    >>> qat_ext.ops.linear_int(codes, 3, weight).tolist()
    [[4.0, 8.0]]
    """
    return cast(Tensor, _ops.linear_int(codes, zero_point, weight))


def requantize(
    acc: Tensor,
    multiplier: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = 1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> Tensor:
    """Codes of ``acc * multiplier[c] + bias[c]`` (rules 7 and 2).

    Args:
        acc: float32 accumulators.
        multiplier: float32[C].
        bias: float32[C], or None: no addition.
        scale: float32[1], of the result.
        zero_point: int32[1], of the result.
        axis: channel axis of `acc`, 1 or the last one.
        quant_min: smallest code.
        quant_max: largest code.

    Returns:
        uint8 where `quant_min` is not negative, else int8; shaped like `acc`.

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> acc = torch.tensor([[4.0, 8.0]])
    >>> multiplier, bias = torch.tensor([0.5, 0.25]), torch.tensor([1.0, 0.0])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> qat_ext.ops.requantize(acc, multiplier, bias, scale, zero).tolist()
    [[8, 6]]
    """
    return cast(
        Tensor,
        _ops.requantize(
            acc,
            multiplier,
            bias,
            scale,
            zero_point,
            axis=axis,
            quant_min=quant_min,
            quant_max=quant_max,
        ),
    )


def sum_codes(codes: Tensor, zero_point: int) -> Tensor:
    """Exact sums of ``code - zero_point`` over the positions of each channel (rule 10).

    Args:
        codes: uint8 or int8 [N, C, positions...].
        zero_point: code of zero.

    Returns:
        int64 [N, C].

    Raises:
        ValueError: when a type, a shape or the zero point breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([[[3, 4, 5], [0, 0, 0]]], dtype=torch.uint8)
    >>> qat_ext.ops.sum_codes(codes, 3).tolist()
    [[3, -9]]
    """
    return cast(Tensor, _ops.sum_codes(codes, zero_point))
