#!/usr/bin/env python3
"""The training operators beside ATen's and beside a copy, in three sizes of tensor.

Validates first (fake-quantization and its gradient equal ATen's but for ties), then times all of
them in turn. GB/s counts the bytes that an operator must read and write.

    scripts/bench/ops.py --threads 2 --json out.json
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import cast

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import qat_ext as qat
import torch
from machine import keep_memory, machine
from torch import Tensor

# [N, C, H, W]: the operands of 0.05 M elements stay in a second-level cache of 1 MB, one tensor of
# 4 M in the third, 67 M in none.
SIZES = {"L2": (1, 64, 28, 28), "L3": (20, 64, 56, 56), "DRAM": (84, 256, 56, 56)}


BATCH = 1 << 20  # elements: small tensors are timed in batches, with warm caches


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


def aten_backward(t: Tensors, forward: Callable[[Tensor], Tensor]) -> Callable[[], object]:
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
        Entry("aten fake_quantize backward", aten_backward(t, per_tensor), 9),
        Entry(
            "fake_quantize_backward",
            lambda: ops.fake_quantize_backward(t.grad, t.x, *tensor[0], **tensor[1]),
            12,
            "aten fake_quantize backward",
        ),
        Entry("aten learnable backward", learnable_backward(t), 12),
        Entry(
            "fake_quantize_learned_backward",
            lambda: ops.fake_quantize_learned_backward(t.grad, t.x, *learned[0], **learned[1]),
            12,
            "aten learnable backward",
        ),
        Entry("quantize", lambda: ops.quantize(t.x, *tensor[0], **tensor[1]), 5),
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
    theirs = cast(tuple[Tensor, ...], learnable_backward(t)())
    found = ops.fake_quantize_learned_backward(
        t.grad, t.x, t.scale, t.zero.float(), axis=-1, grad_scale=1.0, **LEVELS
    )
    refuse_difference("fake_quantize_learned_backward", found[0], theirs[0], t.x, t.scale)
    # ATen adds in float32; a term is at most 128 steps.
    most = t.grad.abs().sum() * 128
    if (found[1] - theirs[1]).abs() > 2**-12 * most or (found[2] - theirs[2]).abs() > 2**-12 * most:
        sys.exit("invalid: fake_quantize_learned_backward differs from ATen's")


def measure(shape: tuple[int, ...], seconds: float) -> dict[str, dict[str, float]]:
    tensors = Tensors(shape)
    validate(tensors)
    everything = entries(tensors)
    times: dict[str, list[float]] = {entry.name: [] for entry in everything}
    for entry in everything:
        entry.run()
    batch = max(1, BATCH // tensors.x.numel())
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for entry in everything:
            start = time.perf_counter()
            for _ in range(batch):
                entry.run()
            times[entry.name].append((time.perf_counter() - start) / batch)
    found: dict[str, dict[str, float]] = {}
    for entry in everything:
        each = statistics.median(times[entry.name]) / tensors.x.numel() * 1e9
        found[entry.name] = {"ns": each, "GB/s": entry.bytes_per_element / each}
        if entry.baseline:
            found[entry.name]["speedup"] = found[entry.baseline]["ns"] / each
        found[entry.name]["of copy"] = found[entry.name]["GB/s"] / found["copy"]["GB/s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="per size")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(arguments.threads)
    figures: dict[str, object] = {"threads": arguments.threads, "qat_ext": qat.__version__}
    figures |= machine()
    for level, shape in SIZES.items():
        figures[level] = found = measure(shape, arguments.seconds)
        print(f"{level} {list(shape)}, {arguments.threads} threads")
        for name, row in found.items():
            speedup = f"{row['speedup']:6.1f} x ATen" if "speedup" in row else ""
            print(
                f"  {name:32s} {row['ns']:7.3f} ns/element {row['GB/s']:7.1f} GB/s "
                f"{row['of copy'] * 100:5.0f} % of copy {speedup}"
            )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
