"""Bit equality and gradients of activations, pooling, layout and elementwise operators."""

import pytest
import qat_ext as qat
import torch
import torch.nn.functional as F
from equality import check_with_gradients
from torch import nn

IMAGE = (3, 4, 9, 7)


class Around(nn.Module):
    """`function` between two convolutions, or between two linear layers."""

    def __init__(self, function, channels=6, matrix=False, prelu=None):
        super().__init__()
        self.first = nn.Linear(5, channels) if matrix else nn.Conv2d(4, channels, 3, padding=1)
        self.norm = nn.Identity() if matrix else nn.BatchNorm2d(channels)
        self.function = function
        self.slope = nn.PReLU(prelu) if prelu else None
        self.last = nn.LazyLinear(3)

    def forward(self, x):
        x = self.norm(self.first(x))
        y = self.slope(x) if self.slope is not None else self.function(x)
        return self.last(y.flatten(1))


def check_around(function, tmp_path, recipe="int8", **keywords):
    fraction = keywords.pop("fraction", 0.95)
    x = torch.randn(IMAGE)
    model = Around(function, **keywords)
    model(x)
    return check_with_gradients(
        model, x, recipe, tmp_path, others=(x[:1],), fraction=fraction, batches=(x, x)
    )


ACTIVATIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.75),
    "clamp": lambda x: x.clamp(-0.5, 1.5),
    "clamp_min": lambda x: x.clamp(min=-0.25),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "leaky_relu_inplace": lambda x: F.leaky_relu_(x * 1.0, 0.2),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
}


@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation(activation, recipe, tmp_path):
    check_around(ACTIVATIONS[activation], tmp_path, recipe)


@pytest.mark.parametrize("count", [1, 6])
def test_prelu(count, tmp_path):
    result = check_around(None, tmp_path, prelu=count)
    assert result.gradients["model.slope.weight"].shape == (count,)


POOLS = {
    "max": lambda x: F.max_pool2d(x, 2),
    "max_ceil": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_dilated": lambda x: F.max_pool2d(x, (2, 3), 1, 1, (3, 2)),
    "avg": lambda x: F.avg_pool2d(x, 2),
    "avg_ceil": lambda x: F.avg_pool2d(x, 2, 2, 1, ceil_mode=True),
    "avg_inside": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_ceil_inside": lambda x: F.avg_pool2d(x, 4, 3, 2, ceil_mode=True, count_include_pad=False),
    "avg_divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=7),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
    "adaptive_more": lambda x: F.adaptive_avg_pool2d(x, (11, 1)),
    "adaptive_one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "mean": lambda x: x.mean((2, 3)),
    "mean_keepdim": lambda x: x.mean(-1, keepdim=True),
    "mean_channels": lambda x: x.mean(1),
}


@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
@pytest.mark.parametrize("pool", POOLS)
def test_pool(pool, recipe, tmp_path):
    result = check_around(lambda x: POOLS[pool](F.relu(x)), tmp_path, recipe)
    assert "aten" not in result.operators


UNBATCHED = {
    "adaptive_one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "avg": lambda x: F.avg_pool2d(x, 2),
    "max": lambda x: F.max_pool2d(x, 2),
}


@pytest.mark.parametrize("pool", UNBATCHED)
def test_a_pool_without_batch_axis_is_computed_in_float(pool):
    """[B, L, D] is [C, H, W] to it: the batch is a channel, which no integer operator pools."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)

        def forward(self, x):
            return UNBATCHED[pool](F.relu(self.first(x)))

    torch.manual_seed(2)
    x = torch.randn(4, 6, 8)
    qmodel = qat.prepare(Net(), x)
    qmodel(x)
    qmodel.eval()
    assert qmodel(x).shape == Net()(x).shape
    assert torch.equal(qat.convert(qmodel)(x), qmodel(x))


def shuffle(x):
    return x.view(x.shape[0], 2, 3, 9, 7).transpose(1, 2).reshape(x.shape[0], 6, 9, 7)


LAYOUTS = {
    "pad": lambda x: F.pad(x, (1, 2, 0, 3)),
    "pad_value": lambda x: F.pad(x, (1, 0), value=0.5),
    "pad_crop": lambda x: F.pad(x, (-1, -1, 2, 0)),
    "reshape": lambda x: x.reshape(x.shape[0], 3, -1),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "movedim": lambda x: x.movedim(1, -1),
    "slice": lambda x: x[:, 1:, 1::2, :-2],
    "select": lambda x: x[:, :, -2],
    "narrow": lambda x: x.narrow(1, 2, 3),
    "chunk": lambda x: x.chunk(3, 1)[1],
    "split": lambda x: torch.cat(x.split([1, 3, 2], 1)[::2], 1),
    "unbind": lambda x: x.unbind(2)[4],
    "stack": lambda x: torch.stack([x, x], 2),
    "shuffle": shuffle,
    "concat_self": lambda x: torch.cat([x, x], 1),
    "concat_shared": lambda x: (
        torch.cat([x, torch.cat([x[:, :1], F.max_pool2d(x, 3, 1, 1)], 1)], 1)
        + torch.cat([x, x, x[:, :1]], 1)
    ),
    "upsample": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "upsample_sides": lambda x: F.interpolate(x, size=(9, 21), mode="nearest"),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "flip": lambda x: x.flip(3),
}


@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(layout, recipe, tmp_path):
    check_around(lambda x: LAYOUTS[layout](F.relu(x)), tmp_path, recipe)


ELEMENTWISE = {
    "add_self": lambda x: x + x,
    "add_relu": lambda x: F.relu(x + F.relu(x)),
    "add_alpha": lambda x: torch.add(x, F.relu(x), alpha=0.5),
    "sub": lambda x: F.relu(x) - torch.sigmoid(x),
    "mul_self": lambda x: x * x,
    "mul_broadcast": lambda x: x * F.hardsigmoid(x.mean((2, 3), keepdim=True)),
    "sub_broadcast": lambda x: x - x.mean(1, keepdim=True),
    "number": lambda x: F.relu(x) * 0.3 + 1,
    "reverse": lambda x: 1 - torch.sigmoid(x),
    "div": lambda x: F.relu(x) / 3,
    "inplace": lambda x: x.add_(0.5).relu_().mul(2),
    "square_root": lambda x: (x.square() + 1).sqrt(),
}


@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, recipe, tmp_path):
    check_around(ELEMENTWISE[name], tmp_path, recipe)


def test_add_of_two_layers(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, 3, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.last = nn.Conv2d(6, 2, 1)

        def forward(self, x):
            return self.last(F.relu(self.a(x) + self.norm(self.b(x))))

    x = torch.randn(IMAGE)
    result = check_with_gradients(Net(), x, "int8", tmp_path)
    # Both operands are the layers' own values: nothing is rounded to codes before the sum.
    assert [op for _, op in result.int8.nodes()].count("quantize") == 2


def test_several_inputs_and_named_outputs(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.row = nn.Conv2d(4, 6, 3), nn.Linear(5, 6)
            self.head, self.side = nn.Linear(6, 3), nn.Linear(6, 2)

        def forward(self, image, row):
            pooled = F.relu(self.image(image)).mean((2, 3))
            joined = F.relu(pooled + self.row(row))
            return {"head": self.head(joined), "more": (self.side(joined), pooled)}

    example = {"row": torch.randn(3, 5), "image": torch.randn(IMAGE)}
    result = check_with_gradients(Net(), (example["image"], example["row"]), "int8", tmp_path)
    named = result.int8(**example)
    assert list(named) == ["head", "more.0", "more.1"]
    assert torch.equal(named["more.1"], result.qmodel(**example)["more"][1])


def test_mean_over_everything_but_the_batch(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3)

        def forward(self, x):
            return self.conv(x).mean((1, 2, 3))

    check_with_gradients(Net(), torch.randn(IMAGE), "int8", tmp_path)


def test_a_layer_used_twice(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            x = F.relu(self.norm(self.conv(x)))
            return self.conv(x * 2).mean((2, 3))

    check_with_gradients(Net(), torch.randn(IMAGE), "int8", tmp_path)
