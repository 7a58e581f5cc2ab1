"""A checkpoint around whole prepared models equals the run without it, bit for bit."""

import copy

import pytest
import qat_ext as qat
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

REENTRANT = pytest.mark.parametrize("reentrant", [True, False])
RECIPES = {
    "int8": "int8",
    "lsq": "w4a4-lsq",
    "histogram": {"activations": {"method": "percentile"}},
    "oscillation": {"weights": {"bits": 3}, "oscillation": {"freeze": 0.02, "momentum": 0.1}},
    "prune": {"prune": {"method": "magnitude", "sparsity": 0.5, "end": 0.5}},
}


def images():
    """Batch norm in the chain and alone, a residual addition, dropout and an island."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
            self.block = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.norm, self.drop = nn.BatchNorm2d(8, momentum=None), nn.Dropout(0.2)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            x = self.stem(x)
            x = self.norm(x + self.block(x)).softmax(1)
            return self.head(self.drop(x.mean((2, 3))))

    return Net(), torch.randn(6, 2, 6, 6)


def ready(model, x, recipe):
    """Prepared and calibrated on narrower data, so that every training forward moves the ranges."""
    qmodel = qat.prepare(model, x, recipe)
    with qat.calibrate(qmodel):
        qmodel(0.3 * x)
    return qmodel


def around(reentrant):
    def call(function, x):
        return checkpoint(function, x.clone().requires_grad_(), use_reentrant=reentrant)

    return call


def directly(function, x):
    return function(x.clone().requires_grad_())


def train(qmodel, x, call, steps=4, forwards=1):
    """Losses, the last gradients and the state of a short training."""
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.3)
    losses = []
    for i in range(steps):
        qat.step(qmodel, i / steps)
        optimizer.zero_grad()
        loss = sum(call(qmodel, x * (1 + k + i)).square().sum() for k in range(forwards))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    grads = {name: p.grad for name, p in qmodel.named_parameters()}
    return torch.stack(losses), grads, qmodel.state_dict()


def assert_same_bits(got, expected):
    assert torch.equal(got[0], expected[0])
    for part in (1, 2):
        assert got[part].keys() == expected[part].keys()
        for name, tensor in expected[part].items():
            if tensor is None:
                assert got[part][name] is None, name
            else:
                assert torch.equal(got[part][name], tensor), name


@REENTRANT
@pytest.mark.parametrize("forwards", [1, 2])
@pytest.mark.parametrize("recipe", RECIPES)
def test_equals_the_run_without(recipe, forwards, reentrant):
    model, x = images()
    plain = ready(model, x, RECIPES[recipe])
    saved = copy.deepcopy(plain)
    expected = train(plain, x, directly, forwards=forwards)
    assert_same_bits(train(saved, x, around(reentrant), forwards=forwards), expected)
    assert expected[2]["model.stem.1.num_batches_tracked"] == 1 + 4 * forwards


@REENTRANT
def test_a_model_that_has_seen_no_data(reentrant):
    model, x = images()
    plain = qat.prepare(model, x)
    saved = copy.deepcopy(plain)
    expected = train(plain, x, directly, steps=2)
    assert_same_bits(train(saved, x, around(reentrant), steps=2), expected)


def test_without_early_stop():
    model, x = images()
    plain = ready(model, x, "int8")
    saved = copy.deepcopy(plain)
    with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        got = train(saved, x, around(False))
    assert_same_bits(got, train(plain, x, directly))


def test_early_stop_keeps_what_a_later_forward_has_observed():
    model, x = images()
    qmodel = ready(model, x, "int8")
    first = around(False)(qmodel, x)
    qmodel(x)
    first.sum().backward()
    assert set(counts(qmodel)) == {3}


def counts(qmodel):
    return [int(v) for name, v in qmodel.state_dict().items() if name.endswith("count")]


@REENTRANT
def test_nested_checkpoints(reentrant):
    model, x = images()
    plain = ready(model, x, "int8")
    saved = copy.deepcopy(plain)
    block = saved.model.block

    class Inner(nn.Sequential):
        def forward(self, x):
            run = super().forward
            return checkpoint(run, x, use_reentrant=False) if self.training else run(x)

    saved.model.block.__class__ = Inner
    assert isinstance(block, Inner)
    call = around(reentrant)
    got = train(saved, x, lambda f, x: call(lambda x: call(f, x), x), forwards=2)
    assert_same_bits(got, train(plain, x, directly, forwards=2))


@REENTRANT
def test_several_models_in_one_checkpoint(reentrant):
    results = []
    for call in (directly, around(reentrant)):
        torch.manual_seed(1)
        model, x = images()
        a, b = (
            ready(model, x, "int8"),
            ready(nn.Sequential(nn.Linear(5, 5)), x[:, 0, 0, :5], "w4a8"),
        )
        scale = nn.Parameter(torch.ones(()))
        both = nn.ModuleList([a, b])
        out = call(lambda x, a=a, b=b, scale=scale: b(a(scale * x) + a(2 * x).tanh()), x)
        out.square().sum().backward()
        grads = {name: p.grad for name, p in both.named_parameters()} | {"scale": scale.grad}
        results.append((out.detach(), grads, both.state_dict()))
    for name in results[0][2]:
        assert torch.equal(results[1][2][name], results[0][2][name]), name
    assert torch.equal(results[1][0], results[0][0])
    for name, grad in results[0][1].items():
        # `a` runs twice: its gradients are sums of terms that autograd may add in another order.
        torch.testing.assert_close(results[1][1][name], grad, rtol=1e-5, atol=1e-6, msg=name)


@REENTRANT
def test_calibration_and_the_float_phase(reentrant):
    model, x = images()
    qmodel = qat.prepare(model, x)
    with qat.calibrate(qmodel):
        around(reentrant)(qmodel, x).sum().backward()
    assert set(counts(qmodel)) == {1}
    assert model.stem[1].num_batches_tracked == 1
    qmodel.phase = "floating"
    around(reentrant)(qmodel, x).sum().backward()


def test_a_phase_that_changes_before_backward():
    model, x = images()
    plain = ready(model, x, "int8")
    saved = copy.deepcopy(plain)
    grads = []
    for qmodel, call in ((plain, directly), (saved, around(False))):
        torch.manual_seed(2)
        out = call(qmodel, x)
        qmodel.phase = "floating"
        out.sum().backward()
        grads.append([p.grad for p in qmodel.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@REENTRANT
def test_oscillation_loss(reentrant):
    model, x = images()
    plain = ready(model, x, {"weights": {"bits": 3}, "oscillation": {"damping": 1.0}})
    qat.step(plain, 0.5)
    saved = copy.deepcopy(plain)
    grads = []
    for qmodel, call in ((plain, directly), (saved, around(reentrant))):
        torch.manual_seed(2)
        out = call(qmodel, x)
        (out.sum() + qat.oscillation_loss(qmodel)).backward()
        grads.append({name: p.grad for name, p in qmodel.named_parameters()})
    for name, grad in grads[0].items():
        assert torch.equal(grads[1][name], grad), name


@pytest.mark.parametrize("more", [1, 0])
def test_a_function_that_runs_otherwise_is_refused(more):
    model, x = images()
    qmodel, other = ready(model, x, "int8"), ready(copy.deepcopy(model), x, "int8")
    runs = []

    def function(x):
        runs.append(x)
        if len(runs) == 1:
            return qmodel(x)
        return qmodel(x) + qmodel(x) if more else other(x)

    out = checkpoint(function, x.clone().requires_grad_(), use_reentrant=True)
    with pytest.raises(qat.Error, match="calls prepared models otherwise than in its first run"):
        out.sum().backward()


def test_an_error_inside_leaves_later_forwards_alone():
    model, x = images()
    plain = ready(model, x, "int8")
    saved = copy.deepcopy(plain)

    def fails(x):
        saved(x)
        raise ValueError("mine")

    with torch.random.fork_rng():
        plain(x)
    with pytest.raises(ValueError, match="mine") as caught:
        checkpoint(fails, x, use_reentrant=False)
    assert_same_bits(train(saved, x, around(False)), train(plain, x, directly))
    del caught


@REENTRANT
def test_a_frozen_teacher_may_be_asked_in_the_first_run_alone(reentrant):
    """Its forward moves nothing, so that nothing has to be repeated."""
    torch.manual_seed(2)
    (student, x), (teacher, _) = images(), images()
    student, teacher = ready(student, x, "int8").train(), ready(teacher, x, "int8").eval()
    known = []

    def distilled(inputs):
        if not known:
            with torch.no_grad():
                known.append(teacher(inputs))
        return (student(inputs) - known[0]).square().sum()

    around(reentrant)(distilled, x).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
