"""What scripts/bench/ops.py times: operands of one size, the calls, and their results compared."""

import dataclasses
import sys
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Entry:
    name: str
    run: Callable[[], object]
    bytes_per_element: float
    baseline: str = ""  # the entry of ATen that does the same


class Tensors:
    """The operands of one size."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        channels = shape[1]
        image = torch.channels_last
        self.x = torch.randn(shape).to(memory_format=image)
        self.grad = torch.randn(shape).to(memory_format=image)
        self.acc = (self.x * 1000).round()
        self.out = torch.empty_like(self.x)
        self.scale = torch.tensor([0.02])
        self.zero = torch.tensor([128], dtype=torch.int32)
        self.scales = torch.rand(channels) * 0.01 + 0.02
        self.zeros = torch.full((channels,), 128, dtype=torch.int32)
        self.multiplier = torch.rand(channels) * 1e-3 + 1e-3
        self.bias = torch.randn(channels)
        self.observed = torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)


LEVELS = {"quant_min": 0, "quant_max": 255}
CHAIN = {"axis": 1, "activation": 1, "p0": 0.0, "p1": 0.0}


def aten_fake_quantize(t: Tensors) -> Callable[[Tensor], Tensor]:
    scale, zero = t.scale, t.zero
    return lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


def aten_per_channel(t: Tensors) -> Callable[[Tensor], Tensor]:
    scales, zeros = t.scales, t.zeros
    return lambda x: torch.fake_quantize_per_channel_affine(x, scales, zeros, 1, 0, 255)


def fake_quantize(t: Tensors) -> Callable[[Tensor], Tensor]:
    scale, zero, op = t.scale, t.zero, torch.ops.qat_ext.fake_quantize
    return lambda x: cast(Tensor, op(x, scale, zero, axis=-1, **LEVELS))


def aten_backward(t: Tensors) -> Callable[[], Tensor]:
    """ATen's backward on its own: the gradient times a mask of bytes."""
    scale, zero = t.scale.item(), int(t.zero.item())
    _, mask = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(t.x, scale, zero, 0, 255)
    op = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask_backward
    return lambda: op(t.grad, mask)


def straight_through(t: Tensors) -> Callable[[], Tensor]:
    """The same with a mask of bits."""
    ops = torch.ops.qat_ext
    y, mask = ops.fake_quantize_with_mask(t.x, t.scale, t.zero, axis=-1, **LEVELS)
    stride = y.stride()
    return lambda: ops.straight_through(t.grad, mask, stride=stride)


def whole_backward(t: Tensors, forward: Callable[[Tensor], Tensor]) -> Callable[[], object]:
    x = t.x.clone().requires_grad_()
    y = forward(x)
    return lambda: torch.autograd.grad(y, x, t.grad, retain_graph=True)


def learnable_backward(t: Tensors) -> Callable[[], object]:
    x, scale = t.x.clone().requires_grad_(), t.scale.clone().requires_grad_()
    zero = t.zero.float().requires_grad_()
    op = torch._fake_quantize_learnable_per_tensor_affine
    y = op(x, scale, zero, 0, 255, 1.0)
    return lambda: torch.autograd.grad(y, (x, scale, zero), t.grad, retain_graph=True)


def entries(t: Tensors) -> list[Entry]:
    ops = torch.ops.qat_ext
    tensor = (t.scale, t.zero), {"axis": -1} | LEVELS
    channel = (t.scales, t.zeros), {"axis": 1} | LEVELS
    learned = (t.scale, t.zero.float()), {"axis": -1, "grad_scale": 1.0} | LEVELS
    none = (None,) * 4
    chain = t.acc, t.multiplier, t.bias, *none
    batch_norm = t.multiplier, t.bias, t.multiplier
    codes = ops.quantize(t.x, *tensor[0], **tensor[1])

    def chain_backward(learned: bool = False) -> object:
        flags = CHAIN | LEVELS | {"through_statistics": True, "residual_grad": False}
        flags |= {"learned": learned}
        return ops.bn_act_quantize_backward(t.grad, *chain, t.scale, t.zero, *batch_norm, **flags)

    per_tensor, per_channel = aten_fake_quantize(t), aten_per_channel(t)
    return [
        Entry("copy", lambda: t.out.copy_(t.x), 8),
        Entry("aten fake_quantize", lambda: per_tensor(t.x), 8),
        Entry(
            "fake_quantize",
            lambda: ops.fake_quantize(t.x, *tensor[0], **tensor[1]),
            8,
            "aten fake_quantize",
        ),
        Entry("aten fake_quantize per channel", lambda: per_channel(t.x), 8),
        Entry(
            "fake_quantize per channel",
            lambda: ops.fake_quantize(t.x, *channel[0], **channel[1]),
            8,
            "aten fake_quantize per channel",
        ),
        Entry(
            "fake_quantize_with_mask",
            lambda: ops.fake_quantize_with_mask(t.x, *tensor[0], **tensor[1]),
            8.125,
            "aten fake_quantize",
        ),
        Entry("aten fake_quantize backward", aten_backward(t), 9),
        Entry("straight_through", straight_through(t), 8.125, "aten fake_quantize backward"),
        Entry(
            "fake_quantize_backward",
            lambda: ops.fake_quantize_backward(t.grad, t.x, *tensor[0], **tensor[1]),
            12,
            "aten fake_quantize backward",
        ),
        Entry("copy of the gradient", t.grad.clone, 8, "aten fake_quantize backward"),
        Entry("aten whole backward", whole_backward(t, per_tensor), 9),
        Entry("whole backward", whole_backward(t, fake_quantize(t)), 8.125, "aten whole backward"),
        Entry("aten learnable backward", learnable_backward(t), 12),
        Entry(
            "fake_quantize_learned_backward",
            lambda: ops.fake_quantize_learned_backward(t.grad, t.x, *learned[0], **learned[1]),
            12,
            "aten learnable backward",
        ),
        Entry("quantize", lambda: ops.quantize(t.x, *tensor[0], **tensor[1]), 5),
        Entry(
            "quantize_with_mask",
            lambda: ops.quantize_with_mask(t.x, *tensor[0], **tensor[1]),
            5.125,
        ),
        Entry("dequantize", lambda: ops.dequantize(codes, *tensor[0], axis=-1), 5),
        Entry("aten aminmax", lambda: torch.aminmax(t.x), 4),
        Entry(
            "observe_minmax_",
            lambda: ops.observe_minmax_(t.x, *t.observed, axis=-1, momentum=0.01),
            4,
            "aten aminmax",
        ),
        Entry("batch_statistics", lambda: ops.batch_statistics(*chain[:3], axis=1), 4),
        Entry(
            "bn_act_quantize",
            lambda: ops.bn_act_quantize(*chain, t.scale, t.zero, **(CHAIN | LEVELS), observe=True),
            5,
        ),
        Entry("bn_act_quantize_backward", chain_backward, 20),
        Entry("bn_act_quantize_backward learned", lambda: chain_backward(learned=True), 20),
    ]


def refuse_difference(name: str, ours: Tensor, theirs: Tensor, x: Tensor, scale: Tensor) -> None:
    """Equal bits but for ties: rule 2 rounds x / scale + zero_point, ATen rounds before it adds.

    The sum lies below 256, where rounding it to float32 moves it by at most 2^-17.
    """
    differs = ours != theirs
    inverse = (1 / scale).reshape(-1, 1, 1).expand(x.shape)[differs]
    code = x[differs] * inverse
    if ((code - code.floor() - 0.5).abs() > 2**-17).any():
        sys.exit(f"invalid: {name} differs from ATen's")


def validate(t: Tensors) -> None:
    ops = torch.ops.qat_ext
    ours = ops.fake_quantize(t.x, t.scale, t.zero, axis=-1, **LEVELS)
    refuse_difference("fake_quantize", ours, aten_fake_quantize(t)(t.x), t.x, t.scale)
    ours = ops.fake_quantize(t.x, t.scales, t.zeros, axis=1, **LEVELS)
    refuse_difference("fake_quantize per channel", ours, aten_per_channel(t)(t.x), t.x, t.scales)
    x = t.x.clone().requires_grad_()
    aten_fake_quantize(t)(x).backward(t.grad)
    assert x.grad is not None
    ours = ops.fake_quantize_backward(t.grad, t.x, t.scale, t.zero, axis=-1, **LEVELS)
    refuse_difference("fake_quantize_backward", ours, x.grad, t.x, t.scale)
    refuse_difference("fake_quantize_backward", ours, aten_backward(t)(), t.x, t.scale)
    if not torch.equal(straight_through(t)(), ours):
        sys.exit("invalid: straight_through differs from fake_quantize_backward")
    theirs = cast(tuple[Tensor, ...], learnable_backward(t)())
    found = ops.fake_quantize_learned_backward(
        t.grad, t.x, t.scale, t.zero.float(), axis=-1, grad_scale=1.0, **LEVELS
    )
    refuse_difference("fake_quantize_learned_backward", found[0], theirs[0], t.x, t.scale)
    # ATen adds in float32; a term is at most 128 steps.
    most = t.grad.abs().sum() * 128
    if (found[1] - theirs[1]).abs() > 2**-12 * most or (found[2] - theirs[2]).abs() > 2**-12 * most:
        sys.exit("invalid: fake_quantize_learned_backward differs from ATen's")
