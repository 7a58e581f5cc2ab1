"""Ranges that several processes observed, taken together."""

from collections.abc import Mapping

import torch
from torch import nn

from qat_ext.prepare import _checked

_PREFIX = "quantizers."


def merge_ranges(qmodel: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Takes in what a copy of the model observed in another process, on other data.

    Afterwards the ranges are those of all data: exactly for ``minmax``, ``percentile``, ``mse`` and
    ``kl``, which keep extremes and counts, in whatever order copies are merged; for ``ema_minmax``
    they are the means weighted by the numbers of batches. Learned ranges that have begun to learn
    stay as they are.

    Args:
        qmodel: a model made by :func:`prepare`, calibrated on its share of the data.
        state: the other copy's ``state_dict()``; what is not below ``quantizers.`` is not looked
            at. Of N processes each merges the other N - 1, or one merges all and sends its own::

                states = [None] * world
                torch.distributed.all_gather_object(states, qmodel.state_dict())
                for other in states[:rank] + states[rank + 1 :]:
                    qat_ext.merge_ranges(qmodel, other)

    Raises:
        Error: when the state lacks a quantizer of this model, or was observed by a method of
            another kind; nothing has been merged then. What does not change the observed ranges,
            like bits and symmetry, may differ.

    >>> import torch, qat_ext
    >>> model, recipe = torch.nn.Linear(2, 2), {"activations": {"method": "minmax"}}
    >>> one, two = (qat_ext.prepare(model, torch.ones(1, 2), recipe).eval() for _ in range(2))
    >>> for qmodel, data in ((one, [[1.0, -2.0]]), (two, [[3.0, 0.5]])):
    ...     with qat_ext.calibrate(qmodel):
    ...         _ = qmodel(torch.tensor(data))
    >>> qat_ext.merge_ranges(one, two.state_dict())
    >>> one.quantizers.input.min.item(), one.quantizers.input.max.item()
    (-2.0, 3.0)
    """
    tensors = [
        (key.removeprefix(_PREFIX), value)
        for key, value in state.items()
        if key.startswith(_PREFIX) and isinstance(value, torch.Tensor)
    ]
    _checked(qmodel, "merge_ranges")._core.merge_observations(tensors)
