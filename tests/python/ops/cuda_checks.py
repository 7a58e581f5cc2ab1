"""The CUDA operators against those of the CPU: on a device, and emulated."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from ops.cuda_calls import CALLS
from ops.layouts import lay_out
from ops.samples import samples
from ops.test_all_ops import NAMES, larger
from ops.test_conv_int_backward import Case

STATE = {
    "observe_minmax_": slice(1, 4),
    "observe_histogram_": slice(1, 5),
}  # arguments that the operator writes
# Of those that have the same bits everywhere; conv_int_backward leaves sums to libraries.
EXACT = [name for name in NAMES if name != "conv_int_backward"]
FLOATING = [
    "fake_quantize",
    "fake_quantize_backward",
    "fake_quantize_with_mask",
    "straight_through",
    "quantize",
    "quantize_with_mask",
    "observe_minmax_",
    "observe_histogram_",
]  # operators that take half precision


@dataclasses.dataclass
class Device:
    """Where CUDA operators run."""

    ops: Any  # the namespace that has them
    place: Callable[[torch.Tensor], torch.Tensor]  # copies a tensor into its memory

    def move(self, value):
        return tree_map_only(torch.Tensor, lambda t: self.place(t.detach()), value)


def calls_of(name):
    """Fresh sample calls; the same ones after the same seed."""
    torch.manual_seed(0)
    known = samples()
    assert name in known, f"give {name} sample arguments in tests/python/ops/samples.py"
    return known[name] + larger(name)


def run(ops, name, arguments, keywords):
    """The tensors that a call returns, or those that it wrote."""
    with torch.no_grad():
        results = getattr(ops, name)(*arguments, **keywords)
    if name in STATE:
        return list(arguments[STATE[name]])
    return tree_leaves(results)


def assert_same_bits(found, expected):
    """Equal bytes; a NaN equals any NaN, since processors choose its payload."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.stride() == expected.stride()
    found, expected = found.cpu().contiguous(), expected.contiguous()
    if expected.is_floating_point():
        assert torch.equal(found.isnan(), expected.isnan())
        found = found.masked_fill(found.isnan(), 0)
        expected = expected.masked_fill(expected.isnan(), 0)
    assert torch.equal(found.flatten().view(torch.uint8), expected.flatten().view(torch.uint8))


def both(device, name, arguments, keywords):
    placed = device.move(list(arguments))
    found = run(device.ops, name, placed, keywords)
    expected = run(torch.ops.qat_ext, name, arguments, keywords)
    for each, wanted in zip(found, expected, strict=True):
        assert_same_bits(each, wanted)


def check_gradients(device, products, worst):
    """The gradients of a convolution, off by `worst` of the sum of their products' magnitudes and
    by the roundings of the sum."""
    case = Case((2, 64, 14, 14), (32, 64, 3, 3), torch.uint8, padding=1)
    *terms, count = case.magnitudes()
    expected = case.expected(case.grad)
    for tensor in ("codes", "scale", "zero", "weight", "weight_scale", "grad"):
        setattr(case, tensor, device.move([getattr(case, tensor)])[0])
    found = case.run(device.ops, products)
    for each, wanted, sizes in zip(found, expected, terms, strict=True):
        error = (each.cpu().double() - wanted).abs()
        assert (error <= (worst + (count + 2) * 2.0**-24) * sizes).all()


def check_samples(device, name):
    for arguments, keywords in calls_of(name):
        both(device, name, arguments, keywords)


def check_many_blocks(device, name):
    torch.manual_seed(0)
    for arguments, keywords in CALLS[name]():
        both(device, name, arguments, keywords)


def shifted(tensor):
    """The same tensor one element behind the beginning of its memory."""
    elements = tensor.untyped_storage().nbytes() // tensor.element_size() + 1
    memory = torch.empty(elements, dtype=tensor.dtype, device=tensor.device)
    return memory.as_strided(tensor.size(), tensor.stride(), 1).copy_(tensor)


def check_unaligned(device, name):
    """No argument begins at a multiple of 16 bytes."""
    unaligned = Device(device.ops, lambda tensor: shifted(device.place(tensor)))
    for arguments, keywords in calls_of(name):
        both(unaligned, name, arguments, keywords)


def check_layouts(device, name):
    """The first tensor of rank 4 of each call, in memory orders that are not dense or not ours."""
    for arguments, keywords in calls_of(name):
        rank = [isinstance(a, torch.Tensor) and a.dim() == 4 for a in arguments]
        if True not in rank:
            continue
        for layout in ("channels_last", "transposed", "every_second", "expanded"):
            laid_out = list(arguments)
            laid_out[rank.index(True)] = lay_out(arguments[rank.index(True)].detach(), layout)
            both(device, name, laid_out, keywords)


def check_half_precision(device, name, dtype):
    for arguments, keywords in calls_of(name):
        both(device, name, [arguments[0].detach().to(dtype), *arguments[1:]], keywords)


def check_nan_and_infinity(device, name):
    for arguments, keywords in calls_of(name):
        x = arguments[0].detach().clone()
        special = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
        x.as_strided((4,), (1,)).copy_(special)
        both(device, name, [x, *arguments[1:]], keywords)


def check_refused_range(device):
    """The CPU raises an error; here the values are known to the device alone."""
    low, high = device.move([torch.tensor([-1.0, 0.0]), torch.tensor([2.0, 2.0])])
    scale, _ = device.ops.choose_qparams(
        low, high, bits=8, is_signed=False, narrow=False, symmetric=True, power_of_two=False
    )
    assert scale.isnan().tolist() == [True, False]
