"""A pass under torch.inference_mode() leaves nothing behind that training cannot use."""

import copy

import pytest
import qat_ext as qat
import torch
from torch import nn

RECIPES = {
    "int8": "int8",
    "lsq": "w4a4-lsq",
    "histogram": {"activations": {"method": "mse"}},
    "starts late": {"schedule": {"start": 0.5}},
    "oscillation": {"weights": {"bits": 3}, "oscillation": {"freeze": 0.02, "momentum": 0.1}},
    "prune": {"prune": {"method": "magnitude", "sparsity": 0.5, "end": 0.5}},
    "clusters": {"weights": {"granularity": "tensor"}, "cluster": {"values": 4}},
}


def training(qmodel, x, validation, calibration):
    """Calibration, then two epochs of two steps, each with a validation pass behind it."""
    with qat.calibrate(qmodel), calibration():
        qmodel(0.3 * x)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.1)
    results = []
    for i in range(4):
        qat.step(qmodel.train(), i / 4)
        optimizer.zero_grad()
        loss = qmodel((1 + i) * x).square().mean()
        loss.backward()
        optimizer.step()
        results.append(loss.detach())
        if i % 2 == 0:
            with validation():
                results.append(qmodel.eval()(x).clone())
    return results + list(qmodel.state_dict().values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_goes_on_with_the_same_bits(recipe):
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    x = torch.randn(8, 2, 5, 5)
    plain = qat.prepare(model, x, RECIPES[recipe])
    other = copy.deepcopy(plain)
    expected = training(plain, x, torch.no_grad, torch.no_grad)
    got = training(other, x, torch.inference_mode, torch.inference_mode)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


def test_a_model_prepared_there_trains():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(8, 4)
    with torch.inference_mode():
        qmodel = qat.prepare(model, x, "w4a4-lsq")
        with qat.calibrate(qmodel):
            qmodel(x)
        int8 = qat.convert(qmodel.eval())
    qmodel.train()(x).sum().backward()
    assert model[0].weight.grad.abs().sum() > 0
    assert qat.verify(qmodel.eval(), int8, [x]).equal
