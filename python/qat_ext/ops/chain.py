"""Batch norm, residual, activation and quantization behind an accumulator: rules 7 to 9."""

import enum
from typing import cast

import torch
from torch import Tensor

_ops = torch.ops.qat_ext


class Activation(enum.IntEnum):
    """Activations of rule 8. clamp reads p0 and p1 as its bounds, leaky_relu p0 as its slope."""

    none = 0
    relu = 1
    clamp = 2
    leaky_relu = 3
    hardswish = 4
    hardsigmoid = 5


def batch_statistics(
    acc: Tensor, multiplier: Tensor | None, bias: Tensor | None, *, axis: int = 1
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance per channel of ``v = acc * multiplier[c] + bias[c]``.

    Args:
        acc: float32, at least 2-d.
        multiplier, bias: float32[C], or None: left out.
        axis: channel axis, 1 or the last one.

    Returns:
        (mean float32[C], variance float32[C]).

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> acc = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> mean, variance = qat_ext.ops.batch_statistics(acc, None, None)
    >>> mean.tolist(), variance.tolist()
    ([2.0, 20.0], [1.0, 100.0])
    """
    return cast(tuple[Tensor, Tensor], _ops.batch_statistics(acc, multiplier, bias, axis=axis))


def fold_batch_norm(
    multiplier: Tensor | None,
    bias: Tensor | None,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    *,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """What batch norm makes of a layer's multiplier and bias (rule 9).

    Args:
        multiplier: float32[C], or None: 1.
        bias: float32[C], the layer's own, or None: 0.
        gamma, beta: float32[C], or None: 1 and 0.
        mean, variance: float32[C], the statistics.
        eps: added to the variance.

    Returns:
        (multiplier float32[C], bias float32[C]).

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> one, four = torch.tensor([1.0]), torch.tensor([4.0])
    >>> multiplier, bias = qat_ext.ops.fold_batch_norm(
    ...     torch.tensor([0.5]), None, one, one, four, four, eps=0.0
    ... )
    >>> multiplier.item(), bias.item()
    (0.25, -1.0)
    """
    return cast(
        tuple[Tensor, Tensor],
        _ops.fold_batch_norm(multiplier, bias, gamma, beta, mean, variance, eps=eps),
    )


def affine_half(
    acc: Tensor, multiplier: Tensor | None, bias: Tensor | None, *, axis: int = 1
) -> tuple[Tensor, Tensor]:
    """``acc * multiplier[c] + bias[c]`` (rule 7) in float16, which halves what backward keeps.

    Args:
        acc: float32, at least 1-d.
        multiplier, bias: float32[C], or None: left out.
        axis: channel axis, 1 or the last one.

    Returns:
        (values float16, shaped like `acc`, each rounded to nearest, ties to even; fits bool[1]:
        whether float16 has numbers for all of them, that is none is NaN or beyond 65504).

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> acc = torch.tensor([[1.0, 3e5]])
    >>> values, fits = qat_ext.ops.affine_half(acc, torch.tensor([0.5, 0.125]), None)
    >>> values.tolist(), fits.item()
    ([[0.5, 37504.0]], True)
    >>> qat_ext.ops.affine_half(acc, None, None)[1].item()
    False
    """
    return cast(tuple[Tensor, Tensor], _ops.affine_half(acc, multiplier, bias, axis=axis))


def bn_act(
    acc: Tensor,
    multiplier: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    residual_scale: Tensor | None = None,
    residual_zero_point: Tensor | None = None,
    slope: Tensor | None = None,
    *,
    axis: int = 1,
    activation: Activation = Activation.none,
    p0: float = 0.0,
    p1: float = 0.0,
) -> Tensor:
    """``activation(acc * multiplier[c] + bias[c] + residual)`` in one pass (rules 7 and 8).

    Args:
        acc: float32, at least 2-d.
        multiplier, bias: float32[C], or None: left out.
        residual: shaped like `acc`; float32, or codes together with the next two.
        residual_scale, residual_zero_point: float32[1] and int32[1] of residual codes.
        slope: float32[C] for PReLU (leaky_relu with a slope per channel).
        axis: channel axis, 1 or the last one.
        activation: which one.
        p0, p1: its parameters.

    Returns:
        float32, shaped like `acc`.

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> from qat_ext.ops import Activation
    >>> acc, multiplier = torch.tensor([[4.0, -8.0]]), torch.tensor([0.5, 0.5])
    >>> qat_ext.ops.bn_act(acc, multiplier, activation=Activation.relu).tolist()
    [[2.0, 0.0]]
    """
    return cast(
        Tensor,
        _ops.bn_act(
            acc,
            multiplier,
            bias,
            residual,
            residual_scale,
            residual_zero_point,
            slope,
            axis=axis,
            activation=int(activation),
            p0=p0,
            p1=p1,
        ),
    )


def bn_act_quantize(
    acc: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    multiplier: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    residual_scale: Tensor | None = None,
    residual_zero_point: Tensor | None = None,
    slope: Tensor | None = None,
    *,
    axis: int = 1,
    activation: Activation = Activation.none,
    p0: float = 0.0,
    p1: float = 0.0,
    quant_min: int = 0,
    quant_max: int = 255,
    observe: bool = True,
) -> tuple[Tensor, Tensor]:
    """:func:`bn_act` and rule 2 in one pass, with the range that it saw.

    Args:
        scale, zero_point: float32[1] and int32[1] of the codes.
        quant_min, quant_max: smallest and largest code.
        observe: return the range of the values before quantizing.
        acc, multiplier, bias, residual, residual_scale, residual_zero_point, slope, axis,
            activation, p0, p1: as in :func:`bn_act`.

    Returns:
        (codes uint8 or int8, shaped like `acc`; range float32[2]: smallest and largest finite
        value, or zeros without `observe`).

    Raises:
        ValueError: when a type or a shape breaks these rules.

    >>> import torch, qat_ext
    >>> scale, zero = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    >>> codes, seen = qat_ext.ops.bn_act_quantize(torch.tensor([[4.0, -8.0]]), scale, zero)
    >>> codes.tolist(), seen.tolist()
    ([[10, 0]], [-8.0, 4.0])
    """
    return cast(
        tuple[Tensor, Tensor],
        _ops.bn_act_quantize(
            acc,
            multiplier,
            bias,
            residual,
            residual_scale,
            residual_zero_point,
            slope,
            scale,
            zero_point,
            axis=axis,
            activation=int(activation),
            p0=p0,
            p1=p1,
            quant_min=quant_min,
            quant_max=quant_max,
            observe=observe,
        ),
    )


def bn_act_quantize_backward(
    grad: Tensor,
    acc: Tensor,
    *,
    multiplier: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    residual_scale: Tensor | None = None,
    residual_zero_point: Tensor | None = None,
    slope: Tensor | None = None,
    scale: Tensor | None = None,
    zero_point: Tensor | None = None,
    xhat_multiplier: Tensor | None = None,
    xhat_bias: Tensor | None = None,
    gain: Tensor | None = None,
    axis: int = 1,
    activation: Activation = Activation.none,
    p0: float = 0.0,
    p1: float = 0.0,
    quant_min: int = 0,
    quant_max: int = 255,
    through_statistics: bool = False,
    residual_grad: bool = False,
    learned: bool = False,
    clipped_only: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradient of :func:`bn_act` (no `scale`) or of :func:`bn_act_quantize`.

    With ``dy = grad * straight-through mask * slope of the activation`` and batch norm's normalised
    input ``x_hat = acc * xhat_multiplier[c] + xhat_bias[c]``, the gradient of ``v`` is ``gain[c] *
    (dy - mean(dy) - x_hat * mean(dy * x_hat))``; the means stay out unless `through_statistics`.

    Args:
        grad: gradient of the result, shaped like `acc`.
        xhat_multiplier, xhat_bias: float32[C]; None: no batch norm.
        gain: float32[C], factor of the gradient of ``v``; None: 1.
        through_statistics: batch norm used the statistics of this batch.
        residual_grad: also return the residual's gradient.
        learned: also return the gradients of `scale` and of the float zero point that was rounded
            to `zero_point` (rule 13), as :func:`fake_quantize_learned` learns them.
        clipped_only: the gradient of `scale` counts clipped values alone (PACT).
        acc, multiplier, bias, residual, residual_scale, residual_zero_point, slope, scale,
            zero_point, axis, activation, p0, p1, quant_min, quant_max: as in the forward.

    Returns:
        (gradient of ``v``, float32, shaped like `acc`; ``dy``, or an empty tensor; sum of ``dy``
        float32[C]; sum of ``dy * x_hat`` float32[C]; gradient of `slope`, or an empty tensor;
        gradients of `scale` and of the zero point, float32, shaped like `scale`, or two empty
        tensors).

    Raises:
        ValueError: when a type or a shape breaks these rules, `learned` is given without `scale`,
            or `clipped_only` without `learned`.

    >>> import torch, qat_ext
    >>> from qat_ext.ops import Activation
    >>> acc = torch.tensor([[4.0, -8.0]])
    >>> d_value, *_ = qat_ext.ops.bn_act_quantize_backward(
    ...     torch.ones(1, 2), acc, gain=torch.tensor([0.5, 0.5]), activation=Activation.relu
    ... )
    >>> d_value.tolist()
    [[0.5, 0.0]]
    """
    return cast(
        tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor],
        _ops.bn_act_quantize_backward(
            grad,
            acc,
            multiplier,
            bias,
            residual,
            residual_scale,
            residual_zero_point,
            slope,
            scale,
            zero_point,
            xhat_multiplier,
            xhat_bias,
            gain,
            axis=axis,
            activation=int(activation),
            p0=p0,
            p1=p1,
            quant_min=quant_min,
            quant_max=quant_max,
            through_statistics=through_statistics,
            residual_grad=residual_grad,
            learned=learned,
            clipped_only=clipped_only,
        ),
    )
