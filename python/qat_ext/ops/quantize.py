"""Real values to codes and back: rules 2, 3, 4, 11 and 13."""

from typing import cast

import torch
from torch import Tensor

_ops = torch.ops.qat_ext


def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> Tensor:
    """Quantizes and dequantizes: ``(q - zero_point) * scale`` with ``q`` of rule 2.

    The gradient passes straight through where the unclamped code lies in the range, and is zero
    elsewhere (rule 4). ``scale`` and ``zero_point`` get no gradient.

    Args:
        x: real values, any shape; float32, bfloat16 or float16.
        scale: float32[1], or float32[size of `axis`]; positive.
        zero_point: int32, shaped like `scale`, from `quant_min` to `quant_max`.
        axis: channel axis, or -1.
        quant_min: smallest code.
        quant_max: largest code; at most 255 codes above `quant_min`.

    Returns:
        Tensor of the shape and type of `x`.

    Raises:
        ValueError: when a shape, a type or the range of codes breaks these rules.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-1.0, 0.3, 0.75, 9.0])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> qat_ext.ops.fake_quantize(x, scale, zero, quant_min=0, quant_max=15).tolist()
    [-1.0, 0.5, 1.0, 6.5]
    """
    return cast(
        Tensor,
        _ops.fake_quantize(
            x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max
        ),
    )


def fake_quantize_backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> Tensor:
    """Gradient of :func:`fake_quantize`: ``grad`` where rule 4's mask is 1, else 0.

    Args:
        grad: gradient of the result, shaped like `x`.
        x: input of the forward.
        scale, zero_point, axis, quant_min, quant_max: as in the forward.

    Returns:
        Tensor of the shape of `x`.

    Raises:
        ValueError: as the forward, and when `grad` has another shape.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-9.0, 0.3, 9.0])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> qat_ext.ops.fake_quantize_backward(
    ...     torch.ones(3), x, scale, zero, quant_min=0, quant_max=15
    ... ).tolist()
    [0.0, 1.0, 0.0]
    """
    return cast(
        Tensor,
        _ops.fake_quantize_backward(
            grad, x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max
        ),
    )


def fake_quantize_learned(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
    grad_scale: float = 1.0,
    clipped_only: bool = False,
) -> Tensor:
    """:func:`fake_quantize` with a scale and a zero point that are learned (LSQ, LSQ+).

    ``zero_point`` is rounded and clamped to a code, then rules 2 and 3 apply. The gradient of `x`
    passes straight through as in :func:`fake_quantize`; those of ``scale`` and ``zero_point`` are
    rule 13's, times `grad_scale`.

    Args:
        x: real values, any shape; float32, bfloat16 or float16.
        scale: float32[1], or float32[size of `axis`]; positive.
        zero_point: float32, shaped like `scale`.
        axis: channel axis, or -1.
        quant_min: smallest code.
        quant_max: largest code; at most 255 codes above `quant_min`.
        grad_scale: factor of the gradients of `scale` and `zero_point`; LSQ takes
            ``1 / sqrt(x.numel() * quant_max)``, or the elements per channel instead of all.
        clipped_only: the gradient of `scale` counts clipped elements alone, as that of PACT's
            clipping level does.

    Returns:
        Tensor of the shape and type of `x`.

    Raises:
        ValueError: when a shape, a type, the range of codes or `grad_scale` breaks these rules.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-9.0, 0.25, 9.0])
    >>> scale = torch.tensor([0.5], requires_grad=True)
    >>> zero = torch.tensor([1.75], requires_grad=True)
    >>> y = qat_ext.ops.fake_quantize_learned(x, scale, zero, quant_min=0, quant_max=15)
    >>> y.tolist()
    [-1.0, 0.0, 6.5]
    >>> y.sum().backward()
    >>> scale.grad.tolist(), zero.grad.tolist()
    ([10.5], [-1.0])
    """
    return cast(
        Tensor,
        _ops.fake_quantize_learned(
            x,
            scale,
            zero_point,
            axis=axis,
            quant_min=quant_min,
            quant_max=quant_max,
            grad_scale=grad_scale,
            clipped_only=clipped_only,
        ),
    )


def fake_quantize_learned_backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
    grad_scale: float = 1.0,
    clipped_only: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`fake_quantize_learned` (rule 13), in one pass over `grad` and `x`.

    The result is the same bits for any number of threads.

    Args:
        grad: gradient of the result, shaped like `x`.
        x: input of the forward.
        scale, zero_point, axis, quant_min, quant_max, grad_scale, clipped_only: as in the
            forward.

    Returns:
        Gradients of `x`, `scale` and `zero_point`, of their shapes and types.

    Raises:
        ValueError: as the forward, and when `grad` has another shape.

    >>> import torch, qat_ext
    >>> x, scale, zero = torch.tensor([-9.0, 0.25, 9.0]), torch.tensor([0.5]), torch.tensor([1.75])
    >>> gradients = qat_ext.ops.fake_quantize_learned_backward(
    ...     torch.ones(3), x, scale, zero, quant_min=0, quant_max=15
    ... )
    >>> [gradient.tolist() for gradient in gradients]
    [[0.0, 1.0, 0.0], [10.5], [-1.0]]
    """
    return cast(
        tuple[Tensor, Tensor, Tensor],
        _ops.fake_quantize_learned_backward(
            grad,
            x,
            scale,
            zero_point,
            axis=axis,
            quant_min=quant_min,
            quant_max=quant_max,
            grad_scale=grad_scale,
            clipped_only=clipped_only,
        ),
    )


def quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    axis: int = -1,
    quant_min: int = 0,
    quant_max: int = 255,
) -> Tensor:
    """Codes of real values: ``clamp(round_half_even(x / scale + zero_point))`` as rule 2 rounds.

    NaN becomes `zero_point`; infinities saturate.

    Args:
        x, scale, zero_point, axis, quant_min, quant_max: as in :func:`fake_quantize`.

    Returns:
        uint8 where `quant_min` is not negative, else int8; shaped like `x`.

    Raises:
        ValueError: as :func:`fake_quantize`.

    >>> import torch, qat_ext
    >>> x = torch.tensor([-1.0, 0.25, 0.75, float("nan"), float("inf")])
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> qat_ext.ops.quantize(x, scale, zero, quant_min=0, quant_max=15).tolist()
    [0, 2, 4, 2, 15]
    """
    return cast(
        Tensor,
        _ops.quantize(x, scale, zero_point, axis=axis, quant_min=quant_min, quant_max=quant_max),
    )


def dequantize(codes: Tensor, scale: Tensor, zero_point: Tensor, *, axis: int = -1) -> Tensor:
    """Real values of codes: ``float(q - zero_point) * scale`` (rule 3).

    Args:
        codes: uint8 or int8, any shape.
        scale: float32[1], or float32[size of `axis`].
        zero_point: int32, shaped like `scale`.
        axis: channel axis, or -1.

    Returns:
        float32, shaped like `codes`.

    Raises:
        ValueError: when a shape or a type breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([0, 2, 15], dtype=torch.uint8)
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> qat_ext.ops.dequantize(codes, scale, zero).tolist()
    [-1.0, 0.0, 6.5]
    """
    return cast(Tensor, _ops.dequantize(codes, scale, zero_point, axis=axis))


def lookup(codes: Tensor, table: Tensor, *, quant_min: int = 0) -> Tensor:
    """``table[code - quant_min]`` (rule 11).

    Args:
        codes: uint8 or int8, any shape.
        table: one entry per code of the format (a power of two, 4 to 256); float32, uint8 or int8.
        quant_min: smallest code of the format.

    Returns:
        Tensor of the type of `table`, shaped like `codes`.

    Raises:
        ValueError: when a type or the length of `table` breaks these rules.

    >>> import torch, qat_ext
    >>> codes = torch.tensor([3, 0, 1], dtype=torch.uint8)
    >>> qat_ext.ops.lookup(codes, torch.tensor([0.0, 0.5, 2.0, 8.0])).tolist()
    [8.0, 0.0, 0.5]
    """
    return cast(Tensor, _ops.lookup(codes, table, quant_min=quant_min))
