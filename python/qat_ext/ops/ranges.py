"""From data to scales and zero points: rules 1 and 5."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

_ops = torch.ops.qat_ext


def observe_minmax_(
    x: Tensor, min: Tensor, max: Tensor, count: Tensor, *, axis: int = -1, momentum: float = 0.01
) -> None:
    """Moves a running range towards the range of `x`, in place.

    The first batch sets the range. Later ones move each end by ``momentum`` of the way; 1 keeps
    the extremes of all batches instead. NaN is skipped; an empty `x` changes nothing.

    Args:
        x: real values; float32, bfloat16 or float16.
        min, max: float32[1], or float32[size of `axis`]; written to.
        count: int64[1], number of batches seen; written to.
        axis: channel axis, or -1.
        momentum: share of the newest batch, above 0 and at most 1.

    Raises:
        ValueError: when a shape, a type or `momentum` breaks these rules.

    >>> import torch, qat_ext
    >>> low, high, count = torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    >>> for batch in (torch.tensor([-1.0, 2.0]), torch.tensor([-3.0, 4.0])):
    ...     qat_ext.ops.observe_minmax_(batch, low, high, count, momentum=0.5)
    >>> low.item(), high.item(), count.item()
    (-2.0, 3.0, 2)
    """
    _ops.observe_minmax_(x, min, max, count, axis=axis, momentum=momentum)


def observe_histogram_(
    x: Tensor, counts: Tensor, exponent: Tensor, extremes: Tensor, tally: Tensor
) -> None:
    """Adds the values of `x` to a histogram, in place.

    1024 bins on either side of 0, each ``2**exponent`` wide: bin ``1024 + k`` holds the values
    from ``k`` widths on and below ``k + 1`` of them, bin ``1023 - k`` their negatives. The exponent
    grows as the values need it; a wider bin is a pair of narrower ones, so the histogram depends
    on the values alone and not on their order or on the batches they came in.

    Args:
        x: real values; float32, bfloat16 or float16.
        counts: int64[2048]; written to.
        exponent: int64[1], -50 to 118. -50, to begin with, gives the finest bins; written to.
        extremes: float32[2], smallest and largest finite value; ``[inf, -inf]`` to begin with;
            written to.
        tally: int64[2], number of zeros and of values that are not finite; they are in no bin.
            Written to.

    Raises:
        ValueError: when a shape, a type or the exponent breaks these rules.

    >>> import torch, qat_ext
    >>> counts, exponent = torch.zeros(2048, dtype=torch.int64), torch.tensor([-50])
    >>> inf, tally = float("inf"), torch.zeros(2, dtype=torch.int64)
    >>> extremes = torch.tensor([inf, -inf])
    >>> x = torch.tensor([-2.0, 0.0, 3.0, 3.0, inf])
    >>> qat_ext.ops.observe_histogram_(x, counts, exponent, extremes, tally)
    >>> exponent.item(), extremes.tolist(), tally.tolist()
    (-8, [-2.0, 3.0], [1, 1])
    >>> counts.nonzero().flatten().tolist(), counts[1024 + 3 * 2**8].item()
    ([511, 1792], 2)
    """
    _ops.observe_histogram_(x, counts, exponent, extremes, tally)


def choose_qparams(
    min: Tensor,
    max: Tensor,
    *,
    bits: int = 8,
    is_signed: bool = False,
    narrow: bool = False,
    symmetric: bool = False,
    power_of_two: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scale and zero point of a range (rule 5), elementwise.

    Args:
        min, max: float32 of equal shape, ends of the range; it is widened to hold zero.
        bits: width of the codes, 2 to 8.
        is_signed: signed codes.
        narrow: leave out the most negative code (signed only).
        symmetric: zero point 0.
        power_of_two: round the scale up to a power of two.

    Returns:
        (scale float32, zero_point int32), shaped like `min`.

    Raises:
        ValueError: when a shape, a type or `bits` breaks these rules.

    >>> import torch, qat_ext
    >>> low, high = torch.tensor([-1.0]), torch.tensor([6.5])
    >>> scale, zero_point = qat_ext.ops.choose_qparams(low, high, bits=4)
    >>> scale.item(), zero_point.item()
    (0.5, 2)
    """
    return cast(
        tuple[Tensor, Tensor],
        _ops.choose_qparams(
            min,
            max,
            bits=bits,
            is_signed=is_signed,
            narrow=narrow,
            symmetric=symmetric,
            power_of_two=power_of_two,
        ),
    )


def quantize_weight(
    weight: Tensor,
    *,
    axis: int = 0,
    groups: int = 1,
    bits: int = 8,
    narrow: bool = True,
    power_of_two: bool = False,
) -> tuple[Tensor, Tensor]:
    """Signed symmetric codes of a weight and their scales, from the largest magnitudes.

    Args:
        weight: float32.
        axis: output-channel axis, 0 or (transposed convolutions) 1; -1: one scale for all.
        groups: groups of a transposed convolution, whose output channel is (group, column).
        bits: width of the codes, 2 to 8.
        narrow: leave out the most negative code.
        power_of_two: round the scales up to powers of two.

    Returns:
        (codes int8, shaped like `weight`; scale float32[output channels] or float32[1]).

    Raises:
        ValueError: when a type, an axis or `bits` breaks these rules.

    >>> import torch, qat_ext
    >>> weight = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    >>> codes, scale = qat_ext.ops.quantize_weight(weight, bits=3, power_of_two=True)
    >>> codes.tolist(), scale.tolist()
    ([[1, -2], [2, 0]], [0.5, 1.0])
    """
    return cast(
        tuple[Tensor, Tensor],
        _ops.quantize_weight(
            weight, axis=axis, groups=groups, bits=bits, narrow=narrow, power_of_two=power_of_two
        ),
    )


def quantize_weights(
    weights: Sequence[Tensor],
    *,
    axis: Sequence[int],
    groups: Sequence[int],
    bits: Sequence[int],
    narrow: Sequence[bool],
    power_of_two: Sequence[bool],
) -> tuple[list[Tensor], list[Tensor]]:
    """`quantize_weight` of many weights in one parallel pass, with the same bits.

    Args:
        weights: float32, one at least, all on one device.
        axis, groups, bits, narrow, power_of_two: as for `quantize_weight`, one entry per weight.

    Returns:
        (codes of each weight, scales of each weight).

    Raises:
        ValueError: when a list has another length than `weights`, or an entry breaks the rules of
            `quantize_weight`; the message names the weight.

    >>> import torch, qat_ext
    >>> weights = [torch.tensor([[0.5, -1.0]]), torch.tensor([[2.0], [0.25]])]
    >>> codes, scales = qat_ext.ops.quantize_weights(
    ...     weights,
    ...     axis=[0, -1],
    ...     groups=[1, 1],
    ...     bits=[3, 3],
    ...     narrow=[True, True],
    ...     power_of_two=[True, True],
    ... )
    >>> [each.tolist() for each in codes], [each.tolist() for each in scales]
    ([[[1, -2]], [[2], [0]]], [[0.5], [1.0]])
    """
    return cast(
        tuple[list[Tensor], list[Tensor]],
        _ops.quantize_weights(
            list(weights),
            axis=list(axis),
            groups=list(groups),
            bits=list(bits),
            narrow=list(narrow),
            power_of_two=list(power_of_two),
        ),
    )
