"""activation_ranges: the float model's range of every channel."""

import pytest
import qat_ext
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.relu_(self.bn(self.conv(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def prepared():
    torch.manual_seed(0)
    return qat_ext.prepare(Net(), torch.randn(2, 3, 8, 8)).eval()


def channels(result, axis):
    flat = result.movedim(axis, 0).flatten(1)
    return flat.amin(1).tolist(), flat.amax(1).tolist()


def expected(net, x):
    with torch.no_grad():
        conv = net.conv(x)
        bn = net.bn(conv)
        relu = bn.relu()
        mean = relu.mean((2, 3))
        return [channels(t, 1) for t in (conv, bn, relu, mean, net.head(mean))]


def test_ranges_of_every_site(prepared):
    x = torch.randn(5, 3, 9, 9)
    found = qat_ext.activation_ranges(prepared, x)
    assert list(found) == prepared.sites()
    ranges = [(low.tolist(), high.tolist()) for low, high in found.values()]
    assert ranges == expected(prepared.model, x)


def test_three_axes_hold_channels_in_the_last_one():
    layer = nn.Linear(4, 3)
    x = torch.randn(2, 5, 4)
    found = qat_ext.activation_ranges(qat_ext.prepare(nn.Sequential(layer), x).eval(), x)
    with torch.no_grad():
        assert [(a.tolist(), b.tolist()) for a, b in found.values()] == [channels(layer(x), 2)]


@pytest.mark.parametrize("phase", ["floating", "calibrate", "qat"])
def test_nothing_changes(prepared, phase):
    prepared.phase = phase
    x = torch.randn(2, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in prepared.state_dict().items()}
    first = qat_ext.activation_ranges(prepared, (x,))
    assert prepared.phase == phase
    after = prepared.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    second = qat_ext.activation_ranges(prepared, {"x": x})
    assert all(torch.equal(a, b) for n in first for a, b in zip(first[n], second[n], strict=True))


def test_values_that_are_not_finite_do_not_count(prepared):
    x = torch.randn(2, 3, 8, 8)
    x[0, 0, 0, 0], x[1, 2, 7, 7] = float("nan"), float("inf")
    for low, high in qat_ext.activation_ranges(prepared, x).values():
        assert low.isfinite().all() and high.isfinite().all() and (low <= high).all()


def test_training_mode_is_refused(prepared):
    x = torch.randn(2, 3, 8, 8)
    prepared.train()
    message = r"^activation_ranges: the model is in training mode; call eval\(\) first\.$"
    with pytest.raises(qat_ext.Error, match=message):
        qat_ext.activation_ranges(prepared, x)
    prepared.eval()


def test_other_models_and_inputs_are_refused(prepared):
    with pytest.raises(qat_ext.Error, match="activation_ranges: expected a model made by prepare"):
        qat_ext.activation_ranges(Net(), torch.randn(2, 3, 8, 8))
    with pytest.raises(qat_ext.Error, match="activation_ranges: inputs: expected a tensor"):
        qat_ext.activation_ranges(prepared, [1, 2])
