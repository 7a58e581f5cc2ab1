"""Learned scales that stand still stay where they are, whatever the optimizer is."""

import pytest
import qat_ext as qat
import torch
from test_schedules import X, calibrated


@pytest.mark.parametrize("converged", [False, True])
def test_frozen_scales_stand_still_beside_momentum_and_gradients_of_zeros(converged):
    """An optimizer that knows a gradient of zeros goes on with its momentum and weight decay."""
    learned = {"bits": 4, "method": "lsq"}
    freeze = {"ranges": 0.5, "convergence": 1.0 if converged else 0.0}
    qmodel = calibrated({"weights": learned, "activations": learned, "freeze": freeze}).train()
    optimizer = torch.optim.SGD(qmodel.parameters(), 1e-3, momentum=0.9, weight_decay=0.1)

    def scales():
        named = qmodel.quantizers.named_parameters()
        return {name: tensor.detach().clone() for name, tensor in named}

    def one_step():
        optimizer.zero_grad(set_to_none=False)
        qmodel(X).square().mean().backward()
        optimizer.step()

    for _ in range(110 if converged else 3):
        one_step()
    if not converged:
        qat.step(qmodel, 0.5)
    one_step()
    before = scales()
    weight = qmodel.model[0].weight.detach().clone()
    for _ in range(3):
        one_step()
    assert before and all(torch.equal(before[name], scales()[name]) for name in before)
    assert not torch.equal(weight, qmodel.model[0].weight)
