"""The gradients of a learned range at a chain's end, whatever the chain keeps for backward."""

import pytest
import qat_ext as qat
import torch
from test_quantizers import LEARNED
from torch import nn


@pytest.mark.parametrize("method", LEARNED)
def test_learned_ranges_of_a_chain_learn_with_every_saved_value(method):
    """recompute: the same bits; float16: x_hat is off by 2^-11 of itself, codes by more."""
    grads = {}
    for save in ("float32", "recompute", "float16"):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
        x = torch.randn(4, 3, 12, 12)
        ranges = {"method": method, "bits": 4, "init": "percentile", "percentile": 90}
        qmodel = qat.prepare(layers, x, {"activations": ranges, "numerics": {"save": save}})
        with qat.calibrate(qmodel):
            qmodel(x)
        qmodel.train()
        qmodel(x).square().sum().backward()
        grads[save] = {n: p.grad for n, p in qmodel.quantizers.named_parameters() if "relu" in n}
    assert len(grads["float32"]) == (2 if method == "lsq_plus" else 1)
    for name, exact in grads["float32"].items():
        assert torch.equal(exact, grads["recompute"][name])
        assert grads["float16"][name].isfinite().all()
        assert exact.abs() > 0 or "zero_point" in name
