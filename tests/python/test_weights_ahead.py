"""The weights of a model are quantized in one pass where a forward begins; what its layers read
counts nevertheless."""

import copy
import gc
import weakref

import pytest
import qat_ext as qat
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Two convolutions and a linear layer; `touch` does something to the second one before it
    runs."""

    def __init__(self, touch=lambda conv: None):
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 4)
        self.touch = touch

    def forward(self, x):
        x = torch.relu(self.first(x))
        self.touch(self.second)
        return self.last(torch.relu(self.second(x)).mean((2, 3)))


def calibrated(model, recipe="int8"):
    qmodel = qat.prepare(model, X, recipe)
    with qat.calibrate(qmodel):
        qmodel(X)
    return qmodel


def calls(qmodel):
    """How often a forward calls the two operators."""
    with profile(activities=[ProfilerActivity.CPU]) as session:
        qmodel(X)
    names = [event.name for event in session.events()]
    return names.count("qat_ext::quantize_weights"), names.count("qat_ext::quantize_weight")


LSQ = {"weights": {"bits": 4, "method": "lsq"}}
PRUNED = {"prune": {"method": "magnitude"}}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("int8", (1, 0)),
        ({"weights": {"granularity": "tensor"}}, (1, 0)),
        ({**LSQ, "rules": [{"sites": "<last>", "weight_method": "absmax"}]}, (1, 0)),
        (LSQ, (0, 0)),
        (PRUNED, (1, 2)),  # the first layer has too few channels to be pruned
    ],
)
def test_plain_weights_take_one_pass(recipe, expected, training):
    assert calls(calibrated(Net(), recipe).train(training)) == expected


def test_random_rounding_does_not_go_ahead_while_it_is_random():
    qmodel = calibrated(Net(), {"weights": {"rounding": "stochastic"}}).train()
    assert calls(qmodel) == (0, 3)
    assert calls(qmodel.eval()) == (1, 0)


def halve(conv):
    with torch.no_grad():
        conv.weight.mul_(0.5)


def replace(conv):
    conv.weight = nn.Parameter(conv.weight.detach() * 0.5)


def replace_data(conv):
    conv.weight.data = conv.weight.detach() * 0.5


@pytest.mark.parametrize("touch", [halve, replace, replace_data])
def test_a_weight_that_the_forward_changes_is_quantized_as_it_is_read(touch):
    model = Net()
    qmodel = calibrated(model).eval()
    with torch.no_grad():
        expected = copy.deepcopy(qmodel)
        expected.model.second.weight.mul_(0.5)
        model.touch = touch
        assert torch.equal(qmodel(X), expected(X))


def test_changes_between_forwards_count(tmp_path):
    """Also those that leave no trace in the version counter."""
    qmodel = calibrated(Net()).eval()
    before = qmodel(X)
    for change in (
        lambda weight: weight.data.mul_(0.5),
        lambda weight: weight.detach().mul_(2),
        lambda weight: weight.data.zero_(),
    ):
        change(qmodel.model.second.weight)
        after = qmodel(X)
        assert not torch.equal(after, before)
        integer = qat.convert(qmodel)
        assert torch.equal(integer(X), after)
        before = after


def test_a_write_through_data_inside_of_the_forward_counts_from_the_next_one_on():
    """It leaves no trace; finding it would cost as much as quantizing."""
    model = Net()
    qmodel = calibrated(model).eval()
    with torch.no_grad():
        before = qmodel(X)
        model.touch = lambda conv: conv.weight.data.clamp_(-0.05, 0.05)
        assert torch.equal(qmodel(X), before)
        after = qmodel(X)
        assert not torch.equal(after, before)
        assert torch.equal(qat.convert(qmodel)(X), after)


def test_replaced_tensors_are_freed_and_swapped_ones_are_found():
    """The list of parameters keeps nothing alive."""
    model = Net()
    qmodel = calibrated(model).eval()
    with torch.no_grad():
        qmodel(X)
        old = weakref.ref(model.second)
        model.second = copy.deepcopy(model.second)
        gc.collect()
        assert old() is None
        expected = qmodel(X)
        torch.utils.swap_tensors(model.second.weight, nn.Parameter(model.second.weight * 2))
        assert not torch.equal(qmodel(X), expected)
        assert torch.equal(qat.convert(qmodel)(X), qmodel(X))
        model.second.__dict__.update(copy.deepcopy(model.second).__dict__)
        assert torch.equal(qat.convert(qmodel)(X), qmodel(X))


def test_running_statistics_of_another_size_are_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    qmodel = calibrated(model).train()
    model[1].running_mean = torch.zeros(4000)
    with pytest.raises(RuntimeError, match="must match the size"):
        qmodel(X)


def test_parameters_that_are_replaced_and_renamed_are_found():
    """The list of parameters is kept from forward to forward."""
    model = Net()
    qmodel = calibrated(model).eval()
    qmodel(X)
    with torch.no_grad():
        model.second.weight = nn.Parameter(model.second.weight * 2)
        once = qmodel(X)
        model.second = copy.deepcopy(model.second)
        assert torch.equal(qmodel(X), once)
        assert torch.equal(qat.convert(qmodel)(X), once)
        model.other = model.second
        assert torch.equal(qmodel(X), once)
    model.third = nn.Conv2d(8, 8, 1)
    model.touch = lambda conv: model.third(X.repeat(1, 3, 1, 1)[:, :8])
    with pytest.raises(qat.Error, match="parameter 'third.weight' is not in the plan"):
        qmodel(X)


def test_layers_that_share_a_parameter_share_its_codes():
    model = Net()
    model.first = nn.Conv2d(8, 8, 3, padding=1)
    model.second.weight = model.first.weight
    x = torch.randn(4, 8, 8, 8)
    qmodel = qat.prepare(model, x)
    with qat.calibrate(qmodel):
        qmodel(x)
    qmodel.eval()
    assert torch.equal(qat.convert(qmodel)(x), qmodel(x))
