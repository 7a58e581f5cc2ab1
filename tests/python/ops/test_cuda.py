"""CUDA computes the bits that the CPU computes, for every operator of the namespace."""

import re
from pathlib import Path

import pytest
import torch

from ops import cuda_checks
from ops.cuda_calls import CALLS
from ops.cuda_checks import EXACT, FLOATING, STATE, Device, assert_same_bits, calls_of, run
from ops.library import load
from ops.test_all_ops import NAMES

load()
SOURCES = Path(__file__).parents[3] / "csrc" / "ops" / "cuda"
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device, or a torch without CUDA: the CUDA operators were not run",
)


@pytest.fixture
def device(ops):
    return Device(ops, torch.Tensor.cuda)


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
@pytest.mark.parametrize("name", EXACT)
def test_same_bits(device, name):
    cuda_checks.check_samples(device, name)


@needs_gpu
@pytest.mark.parametrize("name", sorted(CALLS))
def test_many_blocks_give_the_same_bits(device, name):
    cuda_checks.check_many_blocks(device, name)


@needs_gpu
@pytest.mark.parametrize("name", EXACT)
def test_unaligned_memory_gives_the_same_bits(device, name):
    cuda_checks.check_unaligned(device, name)


@needs_gpu
@pytest.mark.parametrize("name", EXACT)
def test_other_layouts_give_the_same_bits(device, name):
    cuda_checks.check_layouts(device, name)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FLOATING)
def test_half_precision_gives_the_same_bits(device, name, dtype):
    cuda_checks.check_half_precision(device, name, dtype)


@needs_gpu
@pytest.mark.parametrize("name", [n for n in FLOATING if n != "fake_quantize_backward"])
def test_nan_and_infinity_give_the_same_bits(device, name):
    cuda_checks.check_nan_and_infinity(device, name)


@needs_gpu
@pytest.mark.parametrize("products", ["float32", "int16", "bfloat16"])
def test_gradients_of_a_convolution_lie_within_the_rounding_of_their_products(device, products):
    """cuDNN may cut the factors to TF32, off by up to 2^-10; bfloat16 is off by up to 2^-8."""
    # (1 + 2^-k)^3 - 1 < 3.1 * 2^-k: two factors and, for bfloat16, the result.
    cuda_checks.check_gradients(
        device, products, 3.1 * 2.0 ** (-8 if products == "bfloat16" else -10)
    )


@needs_gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_captures_the_call(device, name):
    arguments, keywords = calls_of(name)[0]
    on_gpu = device.move(list(arguments))
    expected = run(device.ops, name, device.move(list(arguments)), keywords)
    written = [a.clone() for a in on_gpu[STATE.get(name, slice(0))]]
    run(device.ops, name, on_gpu, keywords)  # loads the kernels, which a capture cannot
    for state, before in zip(on_gpu[STATE.get(name, slice(0))], written, strict=True):
        state.copy_(before)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(device.ops, name, on_gpu, keywords)
    graph.replay()
    torch.cuda.synchronize()
    for found, wanted in zip(results, expected, strict=True):
        assert_same_bits(found, wanted.cpu())


@needs_gpu
def test_refused_range_gives_a_nan_scale(device):
    cuda_checks.check_refused_range(device)


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
