"""The CUDA sources, compiled for the CPU and run thread by thread, give the bits of the CPU.

What this shows and what it does not: docs/cuda.md, "Emulation".
"""

import os
from pathlib import Path

import pytest
import torch

from ops import cuda_checks
from ops.cuda_calls import CALLS
from ops.cuda_checks import EXACT, FLOATING, Device, both
from ops.library import load

load()
BUILT = Path(__file__).parents[3] / "build" / "cmake" / "tests" / "lib" / "libqat_cuda_emulated.so"
LIBRARY = Path(os.environ.get("QAT_CUDA_EMULATED", BUILT))
pytestmark = pytest.mark.skipif(
    not LIBRARY.exists(),
    reason=f"{LIBRARY} is not there: build with -DQAT_TESTS=ON, or name it in QAT_CUDA_EMULATED",
)
# Of turns and of blocks: see Order in tests/cpp/cuda_emulation/machine.h. Few blocks take several
# steps of a grid even for small tensors; 4096 is what a device gets.
SCHEDULES = [(4096, 0), (3, 1), (1, 2)]


@pytest.fixture(scope="module", autouse=True)
def _library():
    torch.ops.load_library(str(LIBRARY))


@pytest.fixture(params=SCHEDULES, ids=lambda s: f"{s[0]}-blocks-order-{s[1]}")
def device(request):
    """Memory that a kernel leaves out holds no result of an earlier call: torch fills it."""
    emulated = torch.ops.qat_ext_CUDA_emulated
    emulated.set_schedule(*request.param)
    torch.use_deterministic_algorithms(True)
    yield Device(emulated, torch.clone)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", EXACT)
def test_same_bits(device, name):
    cuda_checks.check_samples(device, name)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_many_blocks_give_the_same_bits(device, name):
    cuda_checks.check_many_blocks(device, name)


@pytest.mark.parametrize("name", EXACT)
def test_unaligned_memory_gives_the_same_bits(device, name):
    cuda_checks.check_unaligned(device, name)


@pytest.mark.parametrize("name", EXACT)
def test_other_layouts_give_the_same_bits(device, name):
    cuda_checks.check_layouts(device, name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FLOATING)
def test_half_precision_gives_the_same_bits(device, name, dtype):
    cuda_checks.check_half_precision(device, name, dtype)


@pytest.mark.parametrize("name", [n for n in FLOATING if n != "fake_quantize_backward"])
def test_nan_and_infinity_give_the_same_bits(device, name):
    cuda_checks.check_nan_and_infinity(device, name)


def test_refused_range_gives_a_nan_scale(device):
    cuda_checks.check_refused_range(device)


def test_more_parts_than_threads_of_a_block_give_the_same_bits(device):
    """The kernels that merge parts are single blocks of 256 threads; 2^23 elements give 257."""
    x = torch.randn(257 * 32768 - 5)
    state = torch.zeros(2048, dtype=torch.int64), torch.tensor([-50])
    extremes = torch.tensor([float("inf"), -float("inf")]), torch.zeros(2, dtype=torch.int64)
    both(device, "observe_histogram_", (x, *state, *extremes), {})


def test_every_operator_has_calls_of_many_blocks():
    assert sorted(CALLS) == EXACT


@pytest.mark.parametrize("products", ["float32", "int16"])
def test_gradients_of_a_convolution(device, products):
    cuda_checks.check_gradients(device, products, 0.0)
