"""Cross-layer equalization against ranges computed in double, and what it must leave alone."""

import copy

import pytest
import qat_ext as qat
import torch
from insertion_support import Of
from ptq_support import X, net, prepared, weights
from torch import nn


def folded(conv, norm=None):
    """Weight as batch norm scales it, [out, in of the group, positions], in double."""
    weight = (
        conv.weight.detach().double().flatten(2)
        if conv.weight.dim() > 2
        else (conv.weight.detach().double().unsqueeze(2))
    )
    if norm is None:
        return weight
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return weight * gain[:, None, None]


def output_ranges(weight):
    return weight.abs().amax((1, 2))


def input_ranges(weight, groups=1):
    out, width, positions = weight.shape
    return weight.reshape(groups, out // groups, width, positions).abs().amax((1, 3)).flatten()


def largest_effect(model, x):
    """The sum of the magnitudes of every path: the network of absolute values."""
    big = copy.deepcopy(model).double()
    with torch.no_grad():
        y = x.double().abs()
        for conv, norm in ((big.conv, big.bn1), (big.deep, big.bn2)):
            gain = norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
            y = nn.functional.conv2d(y, conv.weight.abs(), padding=conv.padding, groups=conv.groups)
            shift = norm.bias.abs() + norm.running_mean.abs() * gain
            y = y * gain[:, None, None] + shift[:, None, None]
        y = nn.functional.conv2d(y, big.point.weight.abs(), big.point.bias.abs()).mean((2, 3))
        return nn.functional.linear(y, big.head.weight.abs(), big.head.bias.abs())


def test_equalize_keeps_the_float_function():
    """Evaluated in double, all that remains is one rounding of each parameter, of 2^-24 of its
    size. A path crosses at most 4 weights, 2 gammas and one bias or beta: 7 roundings; 8 leaves
    room for their products."""
    model = net()
    with torch.no_grad():
        before = copy.deepcopy(model).double()(X.double())
    limit = 8 * 2.0**-24 * largest_effect(model, X)
    pairs = qat.equalize(prepared(model))
    assert list(pairs) == [("conv", "deep"), ("deep", "point"), ("point", "head")]
    with torch.no_grad():
        after = copy.deepcopy(model).double()(X.double())
    assert ((after - before).abs() <= limit).all()
    assert all(high > 1.05 or low < 0.95 for low, high in pairs.values())


def test_equalize_brings_both_sides_to_one_range():
    """At the fixed point r1 = r2, unless the channel is held back by the widest value behind its
    batch norm. Sweeps end at factors within 1e-4 of 1; a later pair of the same sweep moves r2
    once more by as much, and r1/r2 is the square of a factor."""
    model = net()
    qat.equalize(prepared(model))
    for first, norm, second, after in (
        (model.conv, model.bn1, model.deep, model.bn2),
        (model.deep, model.bn2, model.point, None),
        (model.point, None, model.head, None),
    ):
        r1 = output_ranges(folded(first, norm))
        r2 = input_ranges(folded(second, after), getattr(second, "groups", 1))
        ratio = r1 / r2
        held = torch.zeros_like(ratio, dtype=torch.bool)
        if norm is not None:
            reach = 3 * norm.weight.detach().double().abs() + norm.bias.detach().double().abs()
            held = reach > 0.999 * reach.max()
        assert (held | ((ratio - 1).abs() < 5e-4)).all()
        assert (~held).sum() > 8


def test_equalize_leaves_alone_what_does_not_scale():
    """ReLU6 is not homogeneous, and a value with two readers has no one to take the factor."""
    six = Of(
        lambda m, x: m.b(nn.functional.relu6(m.a(x))),
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 4, 1),
    )
    shared = Of(
        lambda m, x: m.b(y := torch.relu(m.a(x))) + y, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1)
    )
    twice = Of(
        lambda m, x: m.b(torch.relu(m.b(torch.relu(m.a(x))))),
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 4, 1),
    )
    for model in (six, shared, twice):
        before = weights(model)
        assert qat.equalize(prepared(model)) == {}
        assert all(torch.equal(before[name], value) for name, value in weights(model).items())


@pytest.mark.parametrize(
    "between",
    [
        lambda y: torch.nn.functional.leaky_relu(y, 0.2),
        lambda y: nn.functional.max_pool2d(torch.relu(y), 2),
        lambda y: nn.functional.avg_pool2d(nn.functional.dropout(y, training=False), 2),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_equalize_goes_through_what_scales(between, transposed):
    """Grouped and transposed on both sides. Roundings: 2 weights, a bias; see above."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = Of(
        lambda m, x: m.b(between(m.a(x))), a=kind(4, 8, 2, groups=2), b=kind(8, 6, 2, groups=2)
    ).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        model.a.weight.mul_(
            torch.logspace(-2, 2, model.a.weight.numel()).reshape_as(model.a.weight)
        )
        before = copy.deepcopy(model).double()(x.double())
        magnitude = copy.deepcopy(model).double()
        for tensor in magnitude.parameters():
            tensor.abs_()
        limit = 4 * 2.0**-24 * magnitude(x.double().abs())
    assert list(qat.equalize(prepared(model, x=x))) == [("a", "b")]
    with torch.no_grad():
        after = copy.deepcopy(model).double()(x.double())
    assert ((after - before).abs() <= limit).all()


def test_equalize_goes_through_a_flattened_image():
    model = Of(
        lambda m, x: m.b(torch.relu(m.a(x)).flatten(1)), a=nn.Conv2d(3, 4, 3), b=nn.Linear(256, 5)
    ).eval()
    with torch.no_grad():
        model.a.weight.mul_(torch.tensor([0.1, 1, 10, 100]).reshape(-1, 1, 1, 1))
        before = model(X)
        assert list(qat.equalize(prepared(model))) == [("a", "b")]
        # float32 sums of 27 and 256 terms, in two orders of size.
        assert torch.allclose(model(X), before, rtol=1e-4, atol=1e-4 * before.abs().max().item())
    r2 = model.b.weight.detach().abs().reshape(5, 4, -1).amax((0, 2))
    r1 = model.a.weight.detach().abs().amax((1, 2, 3))
    assert torch.allclose(r1, r2, rtol=5e-4)
