"""CUDA computes the bits that the CPU computes, for every operator of the namespace."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from ops.layouts import lay_out
from ops.library import load
from ops.samples import samples
from ops.test_all_ops import NAMES, larger

load()
SOURCES = Path(__file__).parents[3] / "csrc" / "ops" / "cuda"
STATE = {
    "observe_minmax_": slice(1, 4),
    "observe_histogram_": slice(1, 5),
}  # arguments that the operator writes
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device, or a torch without CUDA: the CUDA operators were not run",
)


def calls_of(name):
    """Fresh sample calls; the same ones after the same seed."""
    torch.manual_seed(0)
    known = samples()
    assert name in known, f"give {name} sample arguments in tests/python/ops/samples.py"
    return known[name] + larger(name)


def to_cuda(value):
    if isinstance(value, list):
        return [to_cuda(each) for each in value]
    return value.detach().cuda() if isinstance(value, torch.Tensor) else value


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


def both(ops, name, arguments, keywords):
    on_gpu = [to_cuda(a) for a in arguments]
    for found, expected in zip(
        run(ops, name, on_gpu, keywords), run(ops, name, arguments, keywords), strict=True
    ):
        assert_same_bits(found, expected)


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the sources are not beside the tests")
def test_every_operator_has_a_cuda_source():
    registered = []
    for path in sorted(SOURCES.glob("*.cpp")):
        text = path.read_text()
        if "TORCH_LIBRARY_IMPL(qat_ext, CUDA, m)" in text:
            registered += re.findall(r'm\.impl\("(\w+)"', text)
    assert sorted(registered) == NAMES


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_cuda_kernel_is_registered(name):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"qat_ext::{name}", "CUDA"), (
        "qat_ext was built without CUDA (libqat_ext_cuda.so)"
    )


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_same_bits(ops, name):
    for arguments, keywords in calls_of(name):
        both(ops, name, arguments, keywords)


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_other_layouts_give_the_same_bits(ops, name):
    """The first tensor of rank 4 of each call, in memory orders that are not dense or not ours."""
    for arguments, keywords in calls_of(name):
        rank = [isinstance(a, torch.Tensor) and a.dim() == 4 for a in arguments]
        if True not in rank:
            continue
        for layout in ("channels_last", "transposed", "every_second", "expanded"):
            laid_out = list(arguments)
            laid_out[rank.index(True)] = lay_out(arguments[rank.index(True)].detach(), layout)
            both(ops, name, laid_out, keywords)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name",
    [
        "fake_quantize",
        "fake_quantize_backward",
        "quantize",
        "observe_minmax_",
        "observe_histogram_",
    ],
)
def test_half_precision_gives_the_same_bits(ops, name, dtype):
    for arguments, keywords in calls_of(name):
        both(ops, name, [arguments[0].detach().to(dtype), *arguments[1:]], keywords)


@needs_gpu
@pytest.mark.parametrize(
    "name", ["fake_quantize", "quantize", "observe_minmax_", "observe_histogram_"]
)
def test_nan_and_infinity_give_the_same_bits(ops, name):
    for arguments, keywords in calls_of(name):
        x = arguments[0].detach().clone()
        special = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0])
        x.as_strided((4,), (1,)).copy_(special)
        both(ops, name, [x, *arguments[1:]], keywords)


@needs_gpu
def test_unaligned_memory_gives_the_same_bits(ops):
    x = torch.randn(1001)
    scale, zero = torch.tensor([0.05]), torch.tensor([3], dtype=torch.int32)
    on_gpu = torch.cat([x[:1], x]).cuda()[1:]  # begins 4 bytes behind a multiple of 16
    keywords = {"axis": -1, "quant_min": 0, "quant_max": 255}
    found = ops.quantize(on_gpu, scale.cuda(), zero.cuda(), **keywords)
    assert_same_bits(found, ops.quantize(x, scale, zero, **keywords))


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_captures_the_call(ops, name):
    arguments, keywords = calls_of(name)[0]
    on_gpu = [to_cuda(a) for a in arguments]
    expected = run(ops, name, arguments, keywords)
    written = [a.clone() for a in on_gpu[STATE.get(name, slice(0))]]
    run(ops, name, on_gpu, keywords)  # loads the kernels, which a capture cannot
    for state, before in zip(on_gpu[STATE.get(name, slice(0))], written, strict=True):
        state.copy_(before)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(ops, name, on_gpu, keywords)
    graph.replay()
    torch.cuda.synchronize()
    for found, wanted in zip(results, expected, strict=True):
        assert_same_bits(found, wanted)


@needs_gpu
def test_refused_range_gives_a_nan_scale(ops):
    """The CPU raises an error; here the values are known to the device alone."""
    low, high = torch.tensor([-1.0, 0.0]).cuda(), torch.tensor([2.0, 2.0]).cuda()
    scale, _ = ops.choose_qparams(
        low, high, bits=8, is_signed=False, narrow=False, symmetric=True, power_of_two=False
    )
    assert scale.isnan().tolist() == [True, False]


@needs_gpu
def test_arguments_on_two_devices_are_refused(ops):
    zero = torch.tensor([3], dtype=torch.int32).cuda()
    with pytest.raises(
        ValueError,
        match=r"^quantize: scale: expected a tensor on cuda:0, got one on cpu\.",
    ):
        ops.quantize(
            torch.randn(3).cuda(), torch.ones(1), zero, axis=-1, quant_min=0, quant_max=255
        )
