"""Autograd nodes of a planned forward: made exactly where somebody wants a gradient."""

import pytest
import qat_ext as qat
import torch
from insertion_support import X, small
from torch import nn
from torch.autograd import forward_ad


class Tail(nn.Module):
    """`small` with biases in its convolution, so that every kind of operand of a node occurs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.body = small()
        self.body[0] = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.body(x)


def calibrated():
    qmodel = qat.prepare(Tail(), X)
    with torch.no_grad():
        qmodel(X)
    return qmodel.eval()


def gradients(qmodel, wanted):
    for name, parameter in qmodel.named_parameters():
        parameter.requires_grad_(name in wanted)
        parameter.grad = None
    qmodel(X).square().sum().backward()
    return {name: p.grad for name, p in qmodel.named_parameters() if p.grad is not None}


NAMES = [name for name, _ in Tail().named_parameters()]


@pytest.mark.parametrize("name", NAMES)
def test_one_parameter_that_requires_a_gradient_is_enough(name):
    qmodel = calibrated()
    (wanted,) = prefixed(qmodel, [name])
    found = gradients(qmodel, {wanted})
    assert list(found) == [wanted]
    assert found[wanted].abs().max() > 0


def prefixed(qmodel, names):
    """The prepared model's own names of the parameters."""
    return {own for own, _ in qmodel.named_parameters() if own.endswith(tuple(names))}


def test_without_gradients_the_result_is_the_same_and_has_no_history():
    qmodel = calibrated()
    recorded = qmodel(X)
    assert recorded.requires_grad
    with torch.no_grad():
        plain = qmodel(X)
    for parameter in qmodel.parameters():
        parameter.requires_grad_(False)
    frozen = qmodel(X)
    for result in (plain, frozen):
        assert not result.requires_grad and result.grad_fn is None
        assert torch.equal(result, recorded)


@pytest.mark.parametrize("name", ["body.0.weight", "body.0.bias", "body.8.weight", "body.8.bias"])
def test_a_tangent_is_refused_rather_than_lost(name):
    """Straight-through layers have no forward mode; with gradients off there is no node either."""
    qmodel = calibrated()
    (wanted,) = prefixed(qmodel, [name])
    with torch.no_grad(), forward_ad.dual_level():
        parameters = {
            own: forward_ad.make_dual(p.detach(), torch.ones_like(p)) if own == wanted else p
            for own, p in qmodel.named_parameters()
        }
        with pytest.raises(qat.Error, match="^forward: forward-mode derivatives .jvp, dual "):
            torch.func.functional_call(qmodel, parameters, (X,))
