"""Gradients of a whole network against fake quantization in float64, written from rules 1 to 10."""

import numpy as np
import pytest
import qat_ext as qat
import torch
import torch.nn.functional as F
from oracle import rules
from torch import nn

BATCH, SIDE = 4, 8


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2)
        self.mean = nn.AvgPool2d(2)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(x + self.bn2(self.conv2(x)))
        return self.fc(self.mean(self.pool(x)).flatten(1))


def straight_through(x, scale, zero_point, low, high):
    """Rules 2 to 4: the value of the code; the derivative is 1 inside and 0 outside."""
    r = torch.round(x * (1 / scale) + zero_point)
    value = (r.clamp(low, high) - zero_point) * scale
    inside = ((low <= r) & (r <= high)).double()
    return x * inside + (value - x * inside).detach()


class Reference:
    """The network's training forward in float64."""

    def __init__(self, qmodel, recipe):
        self.parameters = {
            name: p.detach().double().requires_grad_()
            for name, p in qmodel.model.named_parameters()
        }
        self.state = qmodel.quantizers.state_dict()
        self.signed = recipe == "int8-symmetric"
        self.used = set()

    def activation(self, x, site):
        """Rule 5 in float32, as it is stored."""
        self.used.add(site)
        low, high = (float(self.state[f"{site}.{end}"]) for end in ("min", "max"))
        form = rules.Format("s" if self.signed else "u", 8)
        scale, zero_point = rules.parameters(low, high, form, self.signed)
        return straight_through(x, float(scale), zero_point, form.qmin, form.qmax)

    def weight(self, name):
        """One symmetric scale per output channel, narrow codes."""
        w = self.parameters[name]
        largest = w.detach().abs().flatten(1).amax(1).numpy().astype(np.float32)
        scale = torch.from_numpy(largest / np.float32(127)).double()
        return straight_through(w, scale.view(-1, *[1] * (w.dim() - 1)), 0, -127, 127)

    def norm(self, v, name, frozen, model):
        gamma, beta = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        module = getattr(model, name)
        mean, variance = module.running_mean.double(), module.running_var.double()
        if frozen:
            return F.batch_norm(v, mean, variance, gamma, beta, False, 0.0, module.eps)
        return F.batch_norm(v, None, None, gamma, beta, True, 0.0, module.eps)

    def __call__(self, x, frozen, model):
        v = F.conv2d(self.activation(x, "conv1.input"), self.weight("conv1.weight"), padding=1)
        a = self.activation(F.relu(self.norm(v, "bn1", frozen, model)), "relu")
        v = F.conv2d(a, self.weight("conv2.weight"), padding=1)
        # The layer's own value enters the sum, not its code.
        b = self.activation(F.relu(a + self.norm(v, "bn2", frozen, model)), "relu_1")
        c = self.activation(F.avg_pool2d(F.max_pool2d(b, 2), 2), "avg_pool2d")
        return F.linear(c.flatten(1), self.weight("fc.weight"), self.parameters["fc.bias"])


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
def test_gradients_are_straight_through(recipe, frozen, clipped):
    x = torch.randn(BATCH, 3, SIDE, SIDE)
    qmodel = qat.prepare(Net(), x, recipe)
    qmodel(x)
    qmodel.freeze_ranges()
    qmodel.freeze_batch_norm(frozen)
    qmodel.state_dict()  # takes in what the forward observed
    if clipped:
        for name, tensor in qmodel.quantizers.state_dict().items():
            if name.endswith((".min", ".max")):
                tensor.mul_(0.5)
    reference = Reference(qmodel, recipe)
    reals = [x.clone().requires_grad_(), x.double().requires_grad_()]
    ours = qmodel(reals[0])
    theirs = reference(reals[1], frozen, qmodel.model)
    weights = torch.linspace(-1, 1, ours.numel()).view(ours.shape)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    # No code differs: one step of the last quantizer would move a logit by more than 1e-4.
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=2e-6)
    pairs = {name: (p.grad, reference.parameters[name].grad)
             for name, p in qmodel.model.named_parameters()}  # fmt: skip
    pairs["x"] = (reals[0].grad, reals[1].grad)
    # Along its way a gradient is rounded at most once per term of each sum: 256 pixels in two
    # batch norms (two sums each) and in the weight gradient, 72 taps in each of two layers, 5
    # classes. The terms' magnitudes add up to less than 16 times the largest gradient.
    roundings = 5 * BATCH * SIDE * SIDE + 2 * 72 + 5
    for name, (mine, wanted) in pairs.items():
        bound = 16 * roundings * 2.0**-24 * float(wanted.abs().max())
        error = float((mine.double() - wanted).abs().max())
        assert float(wanted.abs().max()) > 0, name
        assert error <= bound, f"{name}: {error} > {bound}"
    sites = {name.removesuffix(".min") for name in reference.state if name.endswith(".min")}
    assert sites == reference.used
