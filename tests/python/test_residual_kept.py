"""A residual that is a layer, with or without batch norm: backward makes it again."""

import pytest
import qat_ext as qat
import torch
from test_numerics_recipe import error, saved_bytes
from torch import nn

X = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(6))
CHANNELS, ELEMENTS = 32, 4 * 32 * 8 * 8  # of the sum


def plain(x, body, shortcut):
    return torch.relu(body(x) + shortcut(x))


def in_place(x, body, shortcut):
    out = body(x)
    out += shortcut(x)
    return torch.relu_(out)


def read_twice(x, body, shortcut):
    identity = shortcut(x)
    return torch.relu(body(x) + identity) * torch.sigmoid(identity)


JOINS = [plain, in_place, read_twice]


class Stage(nn.Module):
    """The first block of a stage of a ResNet."""

    def __init__(self, join, norm):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(16, CHANNELS, 3, 2, 1, bias=False), nn.BatchNorm2d(CHANNELS)
        )
        last = [nn.BatchNorm2d(CHANNELS)] if norm else []
        self.shortcut = nn.Sequential(nn.Conv2d(16, CHANNELS, 1, 2, bias=not norm), *last)
        self.join = join
        self.head = nn.Linear(CHANNELS, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.head(self.join(x, self.body, self.shortcut).mean((2, 3)))


def prepared(save, join, norm):
    torch.manual_seed(1)
    return qat.prepare(Stage(join, norm), X, {"numerics": {"save": save}}).train()


def gradients(*choice):
    qmodel = prepared(*choice)
    output = qmodel(X)
    output.square().sum().backward()
    return output, {name: p.grad for name, p in qmodel.named_parameters()}


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("join", JOINS)
def test_gradients(join, norm):
    output, exact = gradients("float32", join, norm)
    for save in ("recompute", "float16"):
        again, found = gradients(save, join, norm)
        assert torch.equal(again, output)
        for name, grad in found.items():
            if save == "recompute":
                assert torch.equal(grad, exact[name]), name
            else:
                # A mask flips where a value lies at a border: twice the limit of
                # test_numerics_recipe.test_gradients, as values and residual are both rounded.
                assert error(grad, exact[name]) < 3.2e-2, name


@pytest.mark.parametrize("training", [True, False])
def test_a_residual_that_changes_before_the_sum_is_needed_is_refused(training):
    """The sum has no quantizer, since a float operator reads it, so it waits."""

    def changed(x, body, shortcut):
        identity = shortcut(x)
        out = body(x) + identity
        identity.mul_(2)
        return torch.relu(out) + identity

    qmodel = qat.prepare(Stage(changed, True), X)
    with qat.calibrate(qmodel):
        qmodel(X)
    qmodel.train(training)
    with pytest.raises(qat.Error) as error:
        qmodel(X)
    assert str(error.value) == (
        "forward: a tensor that was added to another one was changed in place before the sum was "
        "needed. Use the out-of-place operator, or clone() the tensor first."
    )


@pytest.mark.parametrize("norm", [True, False])
def test_what_is_kept(norm, monkeypatch):
    """Beside the float32 form, float16 saves two bytes of each element of body and shortcut and all
    four of the real residual; the stem's own chain has the rest. A shortcut without batch norm has
    a gradient that needs no values, so the float32 form keeps its result alone."""
    monkeypatch.setattr("test_numerics_recipe.X", X)
    full, half, none = (
        saved_bytes(prepared(save, plain, norm)) for save in ("float32", "float16", "recompute")
    )
    stem = 4 * 16 * 16 * 16
    channels = 64 * CHANNELS  # vectors of one number per channel
    shortcut = 4 * ELEMENTS if norm else 0
    assert full - half >= 2 * (2 * ELEMENTS + stem) + shortcut - channels
    assert full - none >= 4 * (2 * ELEMENTS + stem) + shortcut - channels
