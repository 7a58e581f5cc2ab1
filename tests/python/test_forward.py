"""Forwards as users vary them: phases, precision, containers, batches, exceptions, states."""

import copy
import functools

import pytest
import qat_ext as qat
import torch
import torch.nn.functional as F
import torchvision
from insertion_support import Of, X, assert_converts, small, trained
from torch import nn

# ---- gradient modes and precision


def test_no_grad_and_inference_mode_give_the_same_bits():
    qmodel = trained(small())
    expected = qmodel(X)
    assert expected.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = qmodel(X)
        assert not y.requires_grad
        assert torch.equal(y, expected.detach())
    qmodel.train()
    with torch.no_grad():
        qmodel(X)
    with torch.inference_mode():
        qmodel(X)
    qmodel(X).sum().backward()
    assert_converts(qmodel.eval())


def test_an_input_may_require_a_gradient():
    qmodel = trained(small())
    x = X.clone().requires_grad_()
    qmodel(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    (grad,) = torch.autograd.grad(qmodel(x).square().sum(), x)
    assert torch.equal(grad, x.grad)


@pytest.mark.parametrize("make", [small, functools.partial(small, False)])
def test_autocast(make):
    model = make()
    qmodel = qat.prepare(model, X)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = qmodel(X).float().square().sum()
        loss.backward()
        optimizer.step()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    qmodel.eval()
    expected = qmodel(X)
    with torch.autocast("cpu", torch.bfloat16):
        y = qmodel(X)
        int8 = qat.convert(qmodel)(X)
    assert y.dtype == torch.float32
    assert torch.equal(y, expected)
    assert torch.equal(int8, expected.detach())


def test_autocast_of_a_transformer_in_eval():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(nn.Linear(6, 16), layer, nn.Linear(16, 3))
    x = torch.randn(4, 5, 6)
    qmodel = trained(model, x)
    expected = qmodel(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = qmodel(x)
    assert torch.equal(y.float(), expected)
    assert_converts(qmodel, x)


# ---- modules used in other ways than once, in order


def test_a_module_called_twice_has_two_sites():
    model = Of(
        lambda m, x: m.head(torch.relu(m.layer(torch.relu(m.layer(m.stem(x)))))).mean((2, 3)),
        stem=nn.Conv2d(3, 8, 1),
        layer=nn.Conv2d(8, 8, 3, padding=1),
        head=nn.Conv2d(8, 4, 1),
    )
    qmodel = trained(model)
    assert "layer#1" in qat.plan(qmodel)
    assert_converts(qmodel)


def test_functional_calls_and_tied_weights():
    model = Of(
        lambda m, x: F.linear(torch.relu(F.conv2d(x, m.a.weight)).mean((2, 3)), m.b.weight) @ m.c,
        a=nn.Conv2d(3, 8, 3),
        b=nn.Linear(8, 8),
    )
    model.c = nn.Parameter(torch.randn(8, 4))
    assert_converts(trained(model))
    tied = Of(
        lambda m, x: m.out(torch.tanh(m.rows(x.long()))).softmax(-1),
        rows=nn.Embedding(11, 8),
        out=nn.Linear(8, 11, bias=False),
    )
    tied.out.weight = tied.rows.weight
    ids = torch.randint(0, 11, (4, 6))
    qmodel = trained(tied, ids, call=lambda q: q(ids))
    assert_converts(qmodel, ids)


def test_functional_call_uses_the_given_parameters():
    model = small()
    qmodel = trained(model)
    other = {f"model.{n}": torch.randn_like(p) * 0.1 for n, p in model.named_parameters()}
    y = torch.func.functional_call(qmodel, other, (X,))
    twin = copy.deepcopy(qmodel)
    twin.load_state_dict(other, strict=False)
    assert torch.equal(y, twin.eval()(X))
    assert not torch.equal(y, qmodel(X))


def test_dropout_and_stochastic_depth():
    block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.3))
    model = Of(
        lambda m, x: m.head(
            m.out(torch.relu(m.stem(x) + m.depth(m.block(m.stem(x))))).mean((2, 3))
        ),
        stem=nn.Conv2d(3, 8, 1),
        block=block,
        depth=torchvision.ops.StochasticDepth(0.5, "row"),
        out=nn.Dropout2d(0.2),
        head=nn.Linear(8, 4),
    )
    qmodel = trained(model, steps=4)
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert_converts(qmodel)


# ---- state


def test_state_dict_round_trips_and_assignment():
    qmodel = trained(small())
    expected = qmodel(X)
    state = copy.deepcopy(qmodel.state_dict())
    for assign in (False, True):
        other = qat.prepare(small(), X).eval()
        assert other.load_state_dict(state, strict=True, assign=assign).missing_keys == []
        assert torch.equal(other(X), expected)
    twin = copy.deepcopy(qmodel)
    assert torch.equal(twin(X), expected)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)  # moves the copy alone
    twin.train()(X).sum().backward()
    optimizer.step()
    assert not torch.equal(twin.eval()(X), expected)
    assert torch.equal(qmodel(X), expected)


def test_submodules_in_eval_keep_their_statistics():
    model = small()
    qmodel = qat.prepare(model, X)
    model[1].eval()
    before = model[1].running_mean.clone()
    qmodel(X).sum().backward()
    assert torch.equal(model[1].running_mean, before)
    assert model[4].num_batches_tracked == 1


def test_prepare_restores_buffers_that_the_forward_replaces():
    def forward(m, x):
        m.seen = m.seen + x.abs().mean().detach()
        return m.layer(x)

    model = Of(forward, layer=nn.Conv2d(3, 4, 1))
    model.register_buffer("seen", torch.zeros(()))
    kept = model.seen
    qat.prepare(model, X)
    assert model.seen is kept
    assert model.seen == 0


def test_calibration_with_nothing_afterwards_and_with_nothing_inside():
    qmodel = qat.prepare(small(), X)
    with qat.calibrate(qmodel.eval()):
        qmodel(X)
    assert_converts(qmodel)
    empty = qat.prepare(small(), X).eval()
    with qat.calibrate(empty):
        pass
    with pytest.raises(qat.Error, match="has seen no data; run calibrate"):
        empty(X)
