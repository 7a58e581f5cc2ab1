"""Nodes of the engine in autograd's graph behave like torch's own."""

import gc
import weakref

import pytest
import qat_ext as qat
import torch
from insertion_support import X, small
from torch import nn


def prepared():
    torch.manual_seed(3)
    qmodel = qat.prepare(small(), X)
    qmodel.train()(X)
    return qmodel


def nodes_below(tensor):
    """Names of all nodes of the graph."""
    seen, names, waiting = set(), set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        waiting += [edge for edge, _ in node.next_functions]
    return names


def test_nodes_have_names_a_profile_can_show():
    names = nodes_below(prepared()(X))
    assert {name for name in names if name.startswith("qat_ext::")} >= {
        "qat_ext::ConvBackward",
        "qat_ext::ChainBackward",
        "qat_ext::LinearBackward",
    }


def test_a_second_backward_is_refused_and_a_retained_one_repeats_the_gradients():
    qmodel = prepared()
    parameters = list(qmodel.parameters())
    loss = qmodel(X).square().sum()
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, parameters)


def test_gradients_of_some_parameters_are_those_of_all():
    qmodel = prepared()
    named = dict(qmodel.named_parameters())
    loss = qmodel(X).square().sum()
    everything = dict(
        zip(named, torch.autograd.grad(loss, list(named.values()), retain_graph=True), strict=True)
    )
    for name, parameter in named.items():
        (alone,) = torch.autograd.grad(loss, [parameter], retain_graph=True)
        assert torch.equal(alone, everything[name]), name


class Silent(torch.autograd.Function):
    """Supplies no gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return None


def test_no_gradient_from_above_is_no_gradient_below():
    qmodel = prepared()
    Silent.apply(qmodel(X)).sum().backward()
    assert all(parameter.grad is None for parameter in qmodel.parameters())


class Split(nn.Module):
    """Two results of one operator on codes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        a, b = torch.relu(self.first(x)).chunk(2, dim=1)
        return self.second(a), self.second(b)


def test_a_result_that_nobody_differentiates_counts_as_zero():
    torch.manual_seed(4)
    qmodel = qat.prepare(Split(), X)
    qmodel.train()(X)
    weight = dict(qmodel.named_parameters())["model.first.weight"]
    a, b = qmodel.eval()(X)
    (of_a,) = torch.autograd.grad(a.sum(), [weight], retain_graph=True)
    (of_both,) = torch.autograd.grad(a.sum() + 0.0 * b.sum(), [weight])
    assert torch.equal(of_a, of_both)
    assert of_a[:4].abs().max() > 0 and of_a[4:].abs().max() == 0


class Packed:
    """A saved tensor, which itself has no weak reference."""

    def __init__(self, tensor):
        self.tensor = tensor


def forward_that_packs(qmodel):
    """(result, a count of the tensors kept by its nodes that are alive)."""
    kept = []

    def pack(tensor):
        packed = Packed(tensor)
        kept.append(weakref.ref(packed))
        return packed

    def alive():
        gc.collect()
        return sum(reference() is not None for reference in kept)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed.tensor):
        return qmodel(X), alive


def test_what_nodes_keep_is_released_by_backward_though_the_result_lives():
    y, alive = forward_that_packs(prepared())
    assert alive() > 10
    y.square().sum().backward()
    assert alive() == 0


def test_what_nodes_keep_is_released_with_the_result_where_there_is_no_backward():
    y, alive = forward_that_packs(prepared())
    assert alive() > 10
    del y
    assert alive() == 0


class Residual(nn.Module):
    """`y` is a pending sum of a layer and of codes that `write` changes later; with a hook on it,
    backward goes through its own node."""

    def __init__(self, write, hooked):
        super().__init__()
        torch.manual_seed(6)
        self.before = nn.Conv2d(3, 8, 3, padding=1)
        self.layer = nn.Conv2d(8, 8, 3, padding=1)
        self.after = nn.Conv2d(8, 4, 1)
        self.write, self.hooked, self.active = write, hooked, False

    def forward(self, x):
        r = nn.functional.hardtanh(self.before(x))
        y = self.layer(r) + r
        if self.hooked and self.active:
            y.register_hook(lambda grad: None)
        z = torch.relu(y)
        self.write(r, z)
        return self.after(z) + self.after(r)


def residual_model(write, hooked):
    model = Residual(write, hooked)
    qmodel = qat.prepare(model, X)
    qmodel.train()(X)
    qmodel.eval()
    model.active = True
    return qmodel


WRITES = {
    "add": lambda r, z: r.add_(1.0),
    "mul": lambda r, z: r.mul_(0.5),
    "of what came from it": lambda r, z: r.add_(z),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_residual_written_later_counts_as_it_was(write):
    found = []
    for hooked in (False, True):
        qmodel = residual_model(write, hooked)
        qmodel(X).square().sum().backward()
        found.append([parameter.grad for parameter in qmodel.parameters()])
    for plain, through_node in zip(*found, strict=True):
        assert torch.equal(plain, through_node)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_residual_written_later_is_released(write):
    y, alive = forward_that_packs(residual_model(write, hooked=True))
    assert alive() > 10
    del y
    assert alive() == 0


class Hooked(nn.Module):
    """A hook on an activation without batch norm."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)
        self.other = nn.Conv2d(3, 8, 3)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        y = torch.relu(self.layer(x))
        if y.requires_grad:
            y.register_hook(lambda grad: None)
        return self.last(torch.relu(y + self.other(x)))


def test_a_bias_written_before_backward_is_noticed():
    model = Hooked()
    qmodel = qat.prepare(model, X)
    qmodel.train()(X)
    y = qmodel(X)
    with torch.no_grad():
        model.layer.bias.add_(64.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Mean(nn.Module):
    """The result's node keeps nothing."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        self.activation = torch.relu(self.layer(x))
        return self.activation.mean((2, 3))


def test_a_node_that_keeps_nothing_takes_a_second_backward():
    model = Mean()
    qmodel = qat.prepare(model, X)
    y = qmodel.train()(X)
    (first,) = torch.autograd.grad(y.sum(), [model.activation])
    (second,) = torch.autograd.grad(y.sum(), [model.activation])
    assert torch.equal(first, second)


def test_compiled_autograd_is_refused_by_name():
    qmodel = prepared()
    y = qmodel(X)
    with (
        torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")),
        pytest.raises(RuntimeError, match="^backward: compiled autograd cannot trace quantized"),
    ):
        y.sum().backward()
