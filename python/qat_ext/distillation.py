"""Training a quantized model on what a float model says: losses, and values inside of a forward."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import cast

from torch import Tensor, nn

from qat_ext import _C
from qat_ext.prepare import _checked


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    *,
    temperature: float = 4.0,
    weight: float = 0.9,
    label_smoothing: float = 0.0,
) -> Tensor:
    """``(1 - weight) * CE + weight * T^2 * KL(teacher || student)`` (Hinton et al. 2015).

    Args:
        student_logits: float[B, K], with its history.
        teacher_logits: float[B, K]; no gradient flows into it.
        targets: int64[B], the true classes.
        temperature: T above 0, by which both logits are divided in KL.
        weight: 0 to 1, share of the teacher's part.
        label_smoothing: 0 to 1, of the cross entropy.

    Returns:
        float[], the mean over the batch.

    Raises:
        Error: when a shape, a type or a number breaks these rules.

    >>> import torch, qat_ext
    >>> student, teacher = torch.zeros(1, 2), torch.tensor([[8.0, -8.0]])
    >>> loss = qat_ext.distillation_loss(student, teacher, torch.tensor([0]), weight=0.5)
    >>> f"{loss:.3f}"  # 0.5 * log(2) + 0.5 * 16 * KL([0.982, 0.018] || [0.5, 0.5])
    '5.171'
    """
    options = _C.DistillationOptions()
    options.temperature, options.weight = temperature, weight
    options.label_smoothing = label_smoothing
    return _C.distillation_loss(student_logits, teacher_logits, targets, options)


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of two features by the teacher's mean square (Romero et al. 2015).

    Args:
        student: float tensor, with its history.
        teacher: float tensor of the same shape; no gradient flows into it.

    Returns:
        float[], 1 where the student is all zeros.

    Raises:
        Error: when the shapes differ.

    >>> import torch, qat_ext
    >>> float(qat_ext.feature_loss(torch.zeros(2, 3), torch.ones(2, 3)))
    1.0
    """
    return _C.feature_loss(student, teacher)


@contextlib.contextmanager
def taps(qmodel: nn.Module, sites: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward of `qmodel` leaves its values at `sites` in the dictionary.

    The values are float tensors with their history: in the phase ``qat`` what the codes stand for,
    in ``floating`` and ``calibrate`` those of the float model. The forward's result does not
    change in any bit. A second forward replaces the values of the first.

    Args:
        qmodel: a model made by :func:`qat_ext.prepare`.
        sites: names that ``qmodel.sites()`` lists.

    Returns:
        A dictionary with one tensor per site, the first result of its operator.

    Raises:
        Error: for a plain string; in the forward, for a name that is no site (with the nearest
            one) and for a site that the forward does not pass.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> x = torch.ones(2, 4)
    >>> qmodel = qat_ext.prepare(model, x)
    >>> with qat_ext.taps(qmodel, ["relu"]) as values:
    ...     logits = qmodel(x)
    >>> values["relu"].shape, values["relu"].requires_grad
    (torch.Size([2, 3]), True)
    """
    prepared = _checked(qmodel, "taps")
    if isinstance(sites, str):
        raise _C.Error(f"taps: sites: expected a list of names, got a string; pass [{sites!r}]")
    outer = prepared._taps
    values: dict[str, Tensor | None] = dict.fromkeys(sites)
    prepared._taps = values
    try:
        yield cast(dict[str, Tensor], values)
    finally:
        prepared._taps = outer
