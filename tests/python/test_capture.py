"""What prepare() records, what it refuses, and what a forward may do differently afterwards."""

import copy
import sys
import threading
import time

import pytest
import qat_ext as qat
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    """A stem, then whatever the test wants done with it."""

    def __init__(self, body=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True))
        self.head = nn.Conv2d(8, 4, 1)
        self.extra = nn.Conv2d(8, 8, 1)
        self.body = body or (lambda model, x: model.head(x))

    def forward(self, x):
        self.raw = x
        return self.body(self, self.stem(x)).mean((2, 3))


X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def trained(model, x=X, steps=2):
    qmodel = qat.prepare(model, x)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        qmodel(x).square().sum().backward()
        optimizer.step()
    return qmodel.eval()


def assert_converts(qmodel, x=X):
    report = qat.verify(qmodel, qat.convert(qmodel), [x])
    assert report.equal, report


# ---- data-dependent branches


def branching(model, x):
    if (x.sum((1, 2, 3)) > -1).all():
        x = model.extra(x)
    return model.head(x)


def test_the_plan_mentions_decisions_by_data():
    text = qat.plan(qat.prepare(Model(branching), X))
    assert "is_nonzero" in text
    assert "came out true with the example inputs; the integer model always goes that way" in text


def dimming(model, x):
    """Takes another way for a bright image, without another layer."""
    if model.raw.max() > 50:
        x = x * 0.5
    return model.head(x)


def test_another_outcome_warns_in_eval():
    qmodel = trained(Model(dimming))
    assert_converts(qmodel)
    with pytest.warns(
        UserWarning, match=r"is_nonzero\) came out true, but false with the example in"
    ):
        bright = qmodel(X * 100)
    # the prepared model goes the other way, the integer model that of the example
    assert not torch.equal(bright, qat.convert(qmodel)(X * 100))
    assert torch.equal(qmodel(X), qmodel(X))
    assert qmodel.train()(X * 100).isfinite().all()


def test_numbers_that_leave_the_graph_are_mentioned():
    qmodel = qat.prepare(Model(lambda m, x: m.head(x) * (1 + 0 * int(x.isnan().sum().item()))), X)
    assert "leaves the graph as a number: whatever the model does with it is con" in qat.plan(
        qmodel
    )


def test_a_layer_off_the_planned_way_is_named():
    model = Model(lambda m, x: m.head(m.extra(x) if m.detour else x))
    model.detour = False
    qmodel = trained(model)
    model.detour = True
    with pytest.raises(
        qat.Error, match="conv2d with parameter 'extra.weight' is not in the plan: "
    ):
        qmodel(X)
    qmodel.train()
    assert qmodel(X).shape == (4, 4)  # an auxiliary path may train in float


def test_a_layer_called_more_often_than_planned_is_refused_in_training_too():
    model = Model(lambda m, x: m.head(m.extra(m.extra(x)) if m.detour else m.extra(x)))
    model.detour = False
    qmodel = qat.prepare(model, X)
    model.detour = True
    with pytest.raises(
        qat.Error, match="conv2d with parameter 'extra.weight' is not in the plan: "
    ):
        qmodel(X)


def test_a_skipped_layer_is_named():
    model = Model(lambda m, x: m.head(x if m.skip else m.extra(x)))
    model.skip = False
    qmodel = trained(model)
    model.skip = True
    message = r"forward: the planned site 'extra' \(conv2d\) was not passed"
    with pytest.raises(qat.Error, match=message):
        qmodel(X)
    qmodel.train()
    assert qmodel(X).requires_grad  # layer drop
    # computed behind the plan's back: its gradient betrays it
    model.body = lambda m, x: m.head(Hidden.apply(x, m.extra.weight, m.extra.bias))
    with pytest.raises(qat.Error, match=message):
        qmodel(X)


class Hidden(torch.autograd.Function):
    """A convolution that no dispatcher sees (an operator of a foreign library)."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        array = x.detach().numpy()
        y = (array.transpose(0, 2, 3, 1) @ weight.detach().numpy()[:, :, 0, 0].T).transpose(
            0, 3, 1, 2
        )
        return torch.from_numpy(y.copy())

    @staticmethod
    def backward(ctx, grad):
        return None, None, None


def test_branches_on_self_training():
    def body(model, x):
        if model.training:
            return model.head(F.dropout(x, 0.5)) + 0 * model.extra(x)[:, :4]
        return model.head(x)

    assert_converts(trained(Model(body)))


# ---- compiled and scripted code


def test_scripted_submodules_are_named():
    model = Model()
    model.extra = torch.jit.script(nn.Sequential(nn.Conv2d(8, 8, 1)))
    with pytest.raises(
        qat.Error, match="the submodule 'extra' is compiled by torch.jit, which hid"
    ):
        qat.prepare(model, X)


def test_compiled_submodules_run_eagerly():
    model = Model(lambda m, x: m.head(m.extra(x)))
    twin = copy.deepcopy(model)
    model.extra = torch.compile(model.extra, backend="eager")
    compiled, plain = trained(model), trained(twin)
    assert "torch._dynamo" in sys.modules
    assert torch.equal(compiled(X), plain(X))
    assert_converts(compiled)


def test_a_compiled_model_runs_eagerly():
    inner = Model()
    twin = copy.deepcopy(inner)
    qmodel = trained(torch.compile(inner, backend="eager"))
    plain = trained(twin)
    assert torch.equal(qmodel(X), plain(X))
    outer = torch.compile(qmodel, backend="eager")
    assert torch.equal(outer(X), plain(X))


# ---- prepared models among each other


def test_prepared_models_do_not_nest():
    qmodel = qat.prepare(Model(), X)
    with pytest.raises(
        qat.Error, match="prepare: the model is already a prepared model; prepare its"
    ):
        qat.prepare(qmodel, X)
    with pytest.raises(qat.Error, match="prepare: the submodule '0' is already a prepared model"):
        qat.prepare(nn.Sequential(qmodel), X)
    teacher = [qmodel]

    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(teacher[0](x))

    with pytest.raises(
        qat.Error, match="a prepared model was called inside the forward of another"
    ):
        qat.prepare(Student(), X)


def test_one_model_prepared_twice_and_alternating():
    model = Model()
    first, second = qat.prepare(model, X), qat.prepare(model, X, {"weights": {"bits": 4}})
    for _ in range(2):
        for qmodel in (first, second):
            qmodel.train()(X).sum().backward()
    a, b = first.eval()(X), second.eval()(X)
    assert not torch.equal(a, b)
    assert torch.equal(first(X), a)
    assert torch.equal(second(X), b)


def test_threads_take_turns():
    qmodel = trained(Model())
    batches = [torch.randn(n, 3, 8, 8) for n in (1, 2, 3, 5)]
    expected = [qmodel(x).detach() for x in batches]
    failures = []

    def work(index):
        try:
            for _ in range(10):
                with torch.no_grad():
                    assert torch.equal(qmodel(batches[index]), expected[index])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_overhead_per_operator(capsys):
    """Prints it; a test asserts no speed."""

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*[nn.Linear(4, 4) for _ in range(200)])

        def forward(self, x):
            return self.layers(x)

    model, x = Chain().eval(), torch.randn(1, 4)
    qmodel = qat.prepare(model, x)
    with qat.calibrate(qmodel):
        qmodel(x)
    with torch.no_grad():
        times = []
        for call in (model, qmodel):
            call(x)
            start = time.perf_counter()
            for _ in range(5):
                call(x)
            times.append((time.perf_counter() - start) / 5 / 200 * 1e6)
    with capsys.disabled():
        print(f"\n200 linear layers: {times[0]:.1f} us each in float, {times[1]:.1f} us prepared")
