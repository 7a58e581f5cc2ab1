"""Quantized activations in a running model: in-place operators, views, hooks, foreign code."""

import copy

import pytest
import qat_ext as qat
import torch
import torch.nn.functional as F
import torchvision
from qat_ext import _C
from torch import nn


def conv_bn(cin, cout, **kwargs):
    return nn.Conv2d(cin, cout, 3, padding=1, bias=False, **kwargs), nn.BatchNorm2d(cout)


class Written(nn.Module):
    """conv-bn, then `middle` of the test, then a conv that reads the result."""

    def __init__(self, middle):
        super().__init__()
        self.conv, self.bn = conv_bn(3, 8)
        self.last = nn.Conv2d(8, 4, 1)
        self.middle = middle
        self.held = None

    def forward(self, x):
        x = self.middle(self.bn(self.conv(x)))
        if isinstance(x, torch.Tensor):
            self.held = _C.held_as(x)
        return self.last(x).mean((2, 3))


def run(model, x, steps=2, seed=None):
    """Logits and gradients of a few training forwards."""
    if seed is not None:
        initialise(model, seed)
    qmodel = qat.prepare(model, x)
    for _ in range(steps):
        model.zero_grad()
        y = qmodel(x)
        (y * torch.arange(1.0, 1 + y.numel()).view_as(y)).sum().backward()
    return y.detach(), {name: p.grad for name, p in model.named_parameters()}


def initialise(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)


def assert_same(got, expected):
    assert torch.equal(got[0], expected[0])
    for name, grad in expected[1].items():
        assert torch.equal(got[1][name], grad), name


IN_PLACE = {
    "relu_": (torch.relu_, torch.relu),
    "hardtanh_": (lambda x: F.hardtanh_(x, 0, 6), lambda x: F.hardtanh(x, 0, 6)),
    "relu6_": (lambda x: F.relu6(x, inplace=True), F.relu6),
    "hardswish_": (lambda x: F.hardswish(x, inplace=True), F.hardswish),
    "leaky_relu_": (lambda x: F.leaky_relu_(x, 0.1), lambda x: F.leaky_relu(x, 0.1)),
    "silu_": (lambda x: F.silu(x, inplace=True), F.silu),
    "clamp_": (lambda x: x.clamp_(-1, 1), lambda x: x.clamp(-1, 1)),
    "add_": (lambda x: torch.relu(x).add_(x), lambda x: torch.relu(x) + x),
    "mul_": (lambda x: torch.relu(x).mul_(x.sigmoid()), lambda x: torch.relu(x) * x.sigmoid()),
    "sub_": (lambda x: torch.relu(x).sub_(x), lambda x: torch.relu(x) - x),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_equal_the_others_and_give_codes(name):
    x = torch.randn(4, 3, 8, 8)
    in_place, functional = IN_PLACE[name]
    written = Written(in_place)
    plain = copy.deepcopy(written)
    plain.middle = functional
    assert_same(run(written, x), run(plain, x))
    assert written.held == plain.held == "codes"


@pytest.mark.parametrize(
    "name, clipped", [("resnet18", nn.ReLU), ("mobilenet_v2", nn.ReLU6), ("mnasnet0_5", nn.ReLU)]
)
def test_activations_of_stock_in_place_models_arrive_as_codes(name, clipped):
    model = torchvision.models.get_model(name, weights=None)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    held = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, args: held.append(_C.held_as(args[0])))
    assert all(m.inplace for m in model.modules() if isinstance(m, clipped))
    qmodel = qat.prepare(model, torch.randn(2, 3, 32, 32))
    held.clear()
    qmodel(torch.randn(2, 3, 32, 32)).sum().backward()
    # The image is quantized by its first reader. A classifier's dropout leaves reals in training.
    assert held[0] == "real"
    assert set(held[1:-1]) == {"codes"}
    assert len(held) == len(layers)
    assert all(p.grad is not None for p in model.parameters())


FOREIGN = {
    "unknown operator": lambda x: torch.cumsum(x, 1),
    "in-place unknown": lambda x: x.cumsum_(1),
    "copy_": lambda x: x.copy_(x.flip(0)),
    "masked_fill_": lambda x: x.masked_fill_(x < 0, 0.5),
    "fill through a mask": lambda x: x.where(x > 0, x.exp()),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bchw", x, x),
    "split and stack": lambda x: torch.stack(x.unbind(1), 1),
    "complex": lambda x: torch.fft.fft2(x).real,
    "float64": lambda x: x.double().square().float(),
    "detached factor": lambda x: x * x.detach().abs().max(),
    "data": lambda x: x - x.data,
}


def test_a_view_may_be_written_where_its_base_is_not_read_again():
    def written(x):
        return F.relu(x.flatten(2), inplace=True).unflatten(2, (8, 8))

    x = torch.randn(4, 3, 8, 8)
    model = Written(written)
    twin = copy.deepcopy(model)
    twin.middle = lambda x: F.relu(x.flatten(2)).unflatten(2, (8, 8))
    assert_same(run(model, x), run(twin, x))


def test_capture_refuses_a_base_that_was_written_through_a_view():
    def written(x):
        return torch.cat([F.relu(x[:, :4], inplace=True), x[:, 4:]], 1)

    with pytest.raises(qat.Error, match="prepare: slice reads a tensor that an in-place"):
        qat.prepare(Written(written), torch.randn(4, 3, 8, 8))


class TrainOnly(nn.Module):
    """Does `middle` in training alone, so that capture does not see it."""

    def __init__(self, middle, first=nn.ReLU):
        super().__init__()
        self.conv, self.bn = conv_bn(3, 8)
        self.first = first()
        self.last = nn.Conv2d(8, 4, 1)
        self.middle = middle

    def forward(self, x):
        x = self.first(self.bn(self.conv(x)))
        if self.training:
            x = self.middle(x)
        return self.last(x).mean((2, 3))


@pytest.mark.parametrize("first", [nn.ReLU, nn.Identity])
@pytest.mark.parametrize("name", FOREIGN)
def test_unknown_operators_see_real_values(name, first):
    """The same as on a plain float tensor that holds the activation's values."""
    x = torch.randn(4, 3, 8, 8)
    got = run(TrainOnly(FOREIGN[name], first), x, seed=1)
    expected = run(TrainOnly(lambda x: FOREIGN[name](Plain.apply(x)), first), x, seed=1)
    assert_same(got, expected)


class Plain(torch.autograd.Function):
    """Hands the values over as an ordinary tensor."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy().copy())

    @staticmethod
    def backward(ctx, grad):
        return grad


def zero_half(x):
    x[:, :4].zero_()
    return x


def zero_half_of_a_view(x):
    x.flatten(2)[:, :4] = 0
    return x


@pytest.mark.parametrize("first", [nn.ReLU, nn.Identity])
@pytest.mark.parametrize("write", [zero_half, zero_half_of_a_view])
def test_a_write_through_a_view_reaches_the_base(write, first):
    """Half of the channels cleared in place: the same as a product with a mask."""
    x = torch.randn(4, 3, 8, 8)
    model = TrainOnly(write, first)
    mask = torch.ones(1, 8, 1, 1)
    mask[:, :4] = 0
    twin = copy.deepcopy(model)
    twin.middle = lambda x: torch.where(mask > 0, x, 0.0)
    got, expected = run(model, x), run(twin, x)
    assert_same(got, expected)
    assert got[1]["last.weight"][:, :4].abs().sum() == 0


def relu_behind_a_view(x):
    rows = x.flatten(2)
    x.relu_()
    return rows.unflatten(2, (8, 8)) + x


def test_an_outdated_alias_is_refused():
    model = Written(relu_behind_a_view)
    with pytest.raises(qat.Error, match="prepare: unflatten reads a tensor that an in-place"):
        qat.prepare(model, torch.randn(4, 3, 8, 8))
    # a view of codes (training alone, so that capture does not meet it)
    model = TrainOnly(lambda x: x, lambda: nn.Sequential(nn.ReLU(), nn.MaxPool2d(1)))
    model.last = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (8, 8)), nn.Conv2d(8, 4, 1))
    qmodel = qat.prepare(model, torch.randn(4, 3, 8, 8))
    model.last[0].register_forward_hook(lambda m, args, y: held.append(_C.held_as(y)))

    def write_the_base(module, args, y):
        args[0].relu_()

    model.last[0].register_forward_hook(write_the_base)
    held = []
    with pytest.raises(
        qat.Error,
        match="changed a view of it (or what it is a view of)".replace("(", r"\(").replace(
            ")", r"\)"
        ),
    ):
        qmodel(torch.randn(4, 3, 8, 8))
    assert held == ["codes"]


@pytest.mark.parametrize("first", [nn.ReLU, nn.Identity])
def test_a_real_view_follows_its_base(first):
    x = torch.randn(4, 3, 8, 8)
    model = TrainOnly(relu_behind_a_view, first)
    twin = copy.deepcopy(model)
    twin.middle = lambda x: 2 * torch.relu(x)
    assert torch.equal(run(model, x, 1)[0], run(twin, x, 1)[0])
