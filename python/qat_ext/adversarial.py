"""Inputs moved to where a model's loss is large, for training and for evaluation under attack.

Both functions take any module, a prepared one too, whose gradient flows straight through the
rounding. The module runs in ``eval()``, so that batch norm and ranges stay as they are, and gets
its modes back; gradients of its parameters are left alone. Distances are in the units of the
inputs: with inputs normalised by a mean and a std per channel, pass
``epsilon / std``, ``(0 - mean) / std`` and ``(1 - mean) / std`` as tensors of ``[C, 1, 1]``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from qat_ext import _C
from qat_ext._access import modes_restored

Loss = Callable[[Tensor, Tensor], Tensor]


def fgsm(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    epsilon: float | Tensor,
    *,
    low: float | Tensor = 0.0,
    high: float | Tensor = 1.0,
    loss: Loss = functional.cross_entropy,
) -> Tensor:
    """One step of `epsilon` along the sign of the loss's gradient (Goodfellow et al. 2015).

    Args:
        model: a module that maps `inputs` to what `loss` takes.
        inputs: float[B, ...].
        targets: what `loss` takes beside the outputs, int64[B] for cross entropy.
        epsilon: above 0, how far a value moves; a tensor is broadcast over the inputs.
        low, high: the interval of valid inputs; a tensor is broadcast over the inputs.
        loss: ``(outputs, targets) -> float[]``.

    Returns:
        The attacked inputs, without history.

    Raises:
        Error: when `epsilon` is not above 0.

    >>> import torch, qat_ext
    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    >>> qat_ext.fgsm(model, torch.tensor([[0.5, 0.5]]), torch.tensor([0]), 0.25)
    tensor([[0.2500, 0.7500]])
    """
    return pgd(
        model,
        inputs,
        targets,
        epsilon,
        steps=1,
        step=epsilon,
        random_start=False,
        low=low,
        high=high,
        loss=loss,
    )


def pgd(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    epsilon: float | Tensor,
    *,
    steps: int = 7,
    step: float | Tensor | None = None,
    random_start: bool = True,
    low: float | Tensor = 0.0,
    high: float | Tensor = 1.0,
    loss: Loss = functional.cross_entropy,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent on the loss within `epsilon` of each value (Madry et al. 2018).

    Args:
        model, inputs, targets, epsilon, low, high, loss: see :func:`fgsm`.
        steps: 1 or more.
        step: above 0, length of a step; default ``2.5 * epsilon / steps``, which reaches the
            border from anywhere.
        random_start: begin at a random point within `epsilon` instead of at the inputs.
        generator: where that point is drawn from; default torch's own.

    Returns:
        The attacked inputs, without history.

    Raises:
        Error: when `epsilon`, `step` or `steps` breaks these rules.

    >>> import torch, qat_ext
    >>> model = torch.nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    >>> qat_ext.pgd(model, torch.tensor([[0.5, 0.9]]), torch.tensor([0]), 0.25)
    tensor([[0.2500, 1.0000]])
    """

    def number(value: float | Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=inputs.dtype, device=inputs.device)

    options = _C.AttackOptions()
    options.epsilon, options.low, options.high = number(epsilon), number(low), number(high)
    if step is not None:
        options.step = number(step)
    options.steps, options.random_start = steps, random_start
    options.generator = generator
    with modes_restored(model):
        model.eval()
        return _C.pgd(lambda x: loss(model(x), targets), inputs, options)
