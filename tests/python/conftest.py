"""What every Python test relies on."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator

import pytest
import torch


def _define_torchvision_operators() -> None:
    """Lets torchvision be imported beside a CPU torch, whose wheel lacks its compiled operators.

    torchvision registers fake kernels for these two at import; only their schemas are needed.
    """
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)


_libraries: list[torch.library.Library] = []  # a Library undoes its definitions when it dies
_define_torchvision_operators()


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from one random state and leaves the global switches as they were."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def pytest_report_header() -> list[str]:
    """Says which backends this run covers."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return [f"torch {torch.__version__}, {torch.get_num_threads()} threads, CUDA device: {device}"]
