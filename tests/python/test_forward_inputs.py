"""Inputs that differ from the examples, and forwards that fail."""

import copy

import pytest
import qat_ext as qat
import torch
from insertion_support import Of, X, assert_converts, small, trained
from torch import nn


def test_batch_sizes_layouts_and_reused_memory():
    qmodel = trained(small())
    for n in (1, 2, 7, 3):
        assert_converts(qmodel, torch.randn(n, 3, 8, 8))
    expected = qmodel(X)
    assert torch.equal(qmodel(X.to(memory_format=torch.channels_last)), expected)
    assert torch.equal(qmodel(X.transpose(2, 3).contiguous().transpose(2, 3)), expected)
    assert torch.equal(qmodel(X.double()), expected)
    qmodel.train()
    for n in (4, 4, 2):  # a last, smaller batch
        qmodel(torch.randn(n, 3, 8, 8)).sum().backward()


def test_nan_and_infinity_move_no_range():
    qmodel = qat.prepare(small(), X)
    qmodel(X)
    bad = X.clone()
    bad[0, 0, 0, 0], bad[1, 1, 1, 1] = float("nan"), float("inf")
    for _ in range(3):
        qmodel(bad)
    for name, tensor in qmodel.quantizers.state_dict().items():
        assert tensor.isfinite().all(), name
    qmodel.eval()
    assert qmodel(X).isfinite().all()
    assert qmodel(bad)[2:].isfinite().all()


def test_an_input_that_reaches_no_output_is_refused():
    class Ignores(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x, mask):
            return self.layer(x)

    with pytest.raises(qat.Error, match="prepare: input 1 does not reach the outputs for the"):
        qat.prepare(Ignores(), (torch.randn(2, 3), torch.ones(2, 3)))


def test_an_exception_arrives_unchanged_and_leaves_a_usable_model():
    failure = KeyError("of the model's own")

    def forward(m, x):
        y = torch.relu(m.a(x))
        if m.fail:
            raise failure
        return m.b(y).mean((2, 3))

    model = Of(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 4, 1))
    model.fail = True
    random, training = torch.get_rng_state(), model.training
    with pytest.raises(KeyError) as caught:
        qat.prepare(model, X)
    assert caught.value is failure
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training == training
    model.fail = False
    qmodel = trained(model)
    expected = qmodel(X)
    state = copy.deepcopy(qmodel.state_dict())
    model.fail = True
    with pytest.raises(KeyError) as caught:
        qmodel.train()(X * 100)
    assert caught.value is failure
    qmodel.eval()
    with pytest.raises(KeyError):
        qmodel(X)
    model.fail = False
    assert torch.equal(qmodel(X), expected)
    for name, tensor in qmodel.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert_converts(qmodel)
    assert not torch.relu(torch.ones(2) * -1).any()  # the mode is off
