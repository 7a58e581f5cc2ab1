"""Hooks and foreign code that look at quantized activations."""

import copy

import pytest
import qat_ext as qat
import torch
from torch import nn

# Sums of 256 terms below 0.1 in another order: 256 * 0.1 * 2^-24.
ROUNDING = 1.5e-6


def block():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def gradients(model, x, look=None):
    qmodel = qat.prepare(model, x)
    handles = [m.register_forward_hook(look) for m in model] if look else []
    for _ in range(2):
        model.zero_grad()
        y = qmodel(x)
        y.square().sum().backward()
    for handle in handles:
        handle.remove()
    return y.detach(), [p.grad for p in model.parameters()]


LOOKS = {
    "print": lambda m, a, y: print(y),
    "mean": lambda m, a, y: print(y.mean(), y.abs().max(), y.std()),
    "item": lambda m, a, y: print(y.sum().item(), y.flatten()[0].item(), float(y.max())),
    "numpy": lambda m, a, y: print(y.detach().numpy().sum(), y.detach().tolist()[0]),
    "copies": lambda m, a, y: print(y.clone().shape, y.detach().clone().stride(), y.data.sum()),
    "operators": lambda m, a, y: print((y * 2 - a[0].mean()).softmax(1).sum()),
    "deepcopy of a detached one": lambda m, a, y: print(copy.deepcopy(y.detach()).sum()),
    "histogram": lambda m, a, y: print(torch.histc(y.detach(), 10)),
    "isnan": lambda m, a, y: print(y.isnan().any(), bool((y == y).all()), y.numel(), y.device),
    "repr of the history": lambda m, a, y: print(y.grad_fn, y.requires_grad, y.is_leaf, y.dtype),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_hook_that_looks_changes_nothing(name, capsys):
    model = block()
    twin = copy.deepcopy(model)
    x = torch.randn(4, 3, 8, 8)
    y, grads = gradients(model, x, LOOKS[name])
    expected, expected_grads = gradients(twin, x)
    assert torch.equal(y, expected)
    for got, grad in zip(grads, expected_grads, strict=True):
        assert torch.equal(got, grad)
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize("site", range(6))
@pytest.mark.parametrize("kind", ["register_hook", "retain_grad", "module"])
def test_gradients_at_activations(kind, site):
    """dL/d(conv's result) summed over positions is dL/d(bias): in float and in integers alike.

    The hooked gradient is checked against what the layers on both sides of it make of it.
    """
    model = block()
    x = torch.randn(4, 3, 8, 8)
    qmodel = qat.prepare(model, x)
    qmodel(x)
    seen = {}

    def look(module, args, y):
        if kind == "register_hook":
            y.register_hook(lambda grad: seen.update(grad=grad))
        elif kind == "retain_grad":
            y.retain_grad()
            seen["tensor"] = y

    if kind == "module":
        model[site].register_full_backward_hook(lambda m, gi, go: seen.update(grad=go[0]))
    else:
        model[site].register_forward_hook(look)
    y = qmodel(x)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    grad = seen["tensor"].grad if kind == "retain_grad" else seen["grad"]
    assert grad is not None
    if site == 0:  # the conv's own bias
        torch.testing.assert_close(grad.sum((0, 2, 3)), model[0].bias.grad, rtol=0, atol=ROUNDING)
    elif site == 1:
        torch.testing.assert_close(grad.sum((0, 2, 3)), model[1].bias.grad, rtol=0, atol=ROUNDING)
    elif site == 2:  # what the second conv hands back: its quantized weight times its own gradient
        expected = torch.einsum("bo,oi->bi", weight / 64, model[3].weight[:, :, 0, 0])
        # an 8-bit weight of 8 inputs differs by at most half a step, max |w| / 254, from its float
        step = model[3].weight.abs().max() / 254
        bound = (weight / 64).abs().sum(1).max() * step + 1e-6
        assert (grad - expected[:, :, None, None]).abs().max() <= bound
    elif site == 3:
        assert torch.equal(grad, (weight / 64)[:, :, None, None].expand(4, 4, 8, 8))
    else:
        assert torch.equal(grad.flatten(1), weight)


def test_a_hook_may_change_the_gradient():
    model = block()
    x = torch.randn(4, 3, 8, 8)
    _, plain = gradients(copy.deepcopy(model), x)
    twice = copy.deepcopy(model)

    def double(module, args, y):
        y.register_hook(lambda grad: grad * 2)

    _, doubled = gradients(twice, x, double)
    # six modules: the factor is 2 per hook behind the parameter, and powers of two are exact
    for name, got, grad, factor in zip(
        "weight bias weight bias weight bias".split(),
        doubled,
        plain,
        [64, 64, 32, 32, 8, 8],
        strict=True,
    ):
        assert torch.equal(got, grad * factor), name


def test_a_hook_may_replace_the_activation():
    model = block()
    twin = copy.deepcopy(model)
    x = torch.randn(4, 3, 8, 8)
    model[2].register_forward_hook(lambda m, a, y: y * 0.5)
    twin[2] = nn.Sequential(nn.ReLU(), Half())
    y, grads = gradients(model, x)
    expected, expected_grads = gradients(twin, x)
    assert torch.equal(y, expected)
    for got, grad in zip(grads, expected_grads, strict=True):
        assert torch.equal(got, grad)


class Half(nn.Module):
    def forward(self, x):
        return x * 0.5


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.factor + 0 * x, None


class Reverse(torch.autograd.Function):
    """Returns its input, with another gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Same(Reverse):
    @staticmethod
    def forward(ctx, x):
        return x


class With(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("function", [Reverse.apply, Same.apply, lambda x: Scale.apply(x, -1.0)])
def test_custom_functions_on_activations(function, place):
    """A function that turns the gradient around does so for all layers before it."""
    model = block()
    plain = copy.deepcopy(model)
    model.insert(place, With(function))
    x = torch.randn(4, 3, 8, 8)
    if function in (Reverse.apply, Same.apply):
        _, got = gradients(model, x)
        _, expected = gradients(plain, x)
        before = {1: 2, 2: 4, 3: 4}[place]
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            if i < before:
                torch.testing.assert_close(a, -b, rtol=1e-5, atol=ROUNDING)
            else:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=ROUNDING)
    else:
        y, got = gradients(model, x)
        assert y.isfinite().all()
        assert all(g is not None for g in got)


def test_a_layer_of_the_model_outside_its_forward_is_refused():
    model = block()
    kept = []
    model[2].register_forward_hook(lambda m, a, y: kept.append(y))
    x = torch.randn(4, 3, 8, 8)
    qmodel = qat.prepare(model, x)
    qmodel(x)
    assert torch.equal(kept[-1] * 1, kept[-1].clone())
    foreign = nn.Conv2d(8, 2, 1)
    assert foreign(kept[-1]).shape == (4, 2, 8, 8)
    with pytest.raises(RuntimeError, match="conv2d with parameter '3.weight' was called on a"):
        model[3](kept[-1])
