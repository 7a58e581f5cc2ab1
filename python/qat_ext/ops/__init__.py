"""The operators of ``torch.ops.qat_ext``, typed and documented.

Codes are ``uint8`` tensors in unsigned formats and ``int8`` tensors in signed ones. ``scale`` is
float32[1], or float32[C] with a channel axis; ``zero_point`` is int32 of the same shape. ``axis``
-1 means one scale for the whole tensor. The arithmetic is that of docs/numerics.md, whose rules
are cited as "rule 2".
"""

from qat_ext.ops.chain import (
    Activation,
    affine_half,
    batch_statistics,
    bn_act,
    bn_act_quantize,
    bn_act_quantize_backward,
    fold_batch_norm,
)
from qat_ext.ops.integer import conv_int, conv_int_backward, linear_int, requantize, sum_codes
from qat_ext.ops.masks import fake_quantize_with_mask, quantize_with_mask, straight_through
from qat_ext.ops.quantize import (
    dequantize,
    fake_quantize,
    fake_quantize_backward,
    fake_quantize_learned,
    fake_quantize_learned_backward,
    lookup,
    quantize,
)
from qat_ext.ops.ranges import (
    choose_qparams,
    observe_histogram_,
    observe_minmax_,
    quantize_weight,
    quantize_weights,
)

__all__ = [
    "Activation",
    "affine_half",
    "batch_statistics",
    "bn_act",
    "bn_act_quantize",
    "bn_act_quantize_backward",
    "choose_qparams",
    "conv_int",
    "conv_int_backward",
    "dequantize",
    "fake_quantize",
    "fake_quantize_backward",
    "fake_quantize_learned",
    "fake_quantize_learned_backward",
    "fake_quantize_with_mask",
    "fold_batch_norm",
    "linear_int",
    "lookup",
    "observe_histogram_",
    "observe_minmax_",
    "quantize",
    "quantize_weight",
    "quantize_weights",
    "quantize_with_mask",
    "requantize",
    "straight_through",
    "sum_codes",
]
