"""Quantizing a trained model without training it: steps that change its own parameters.

Each one leaves an ordinary prepared model behind, which converts as it is or starts training
better. The usual order is that of this module::

    qmodel = qat.prepare(model, x, recipe).eval()
    qat.equalize(qmodel)
    reference = copy.deepcopy(qmodel.model.state_dict())
    with qat.calibrate(qmodel), torch.no_grad():
        for batch in batches:
            qmodel(batch)
    qat.reestimate_batch_norm(qmodel, batches)
    qat.correct_bias(qmodel, batches, reference)
    qat.adaround(qmodel, batches, reference=reference)
    int8 = qat.convert(qmodel)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from qat_ext import _C
from qat_ext.prepare import Example, PreparedModule, _checked, batch_tensors

#: A state dict of the float model that the quantized one is to follow.
Reference = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Rounded:
    """What :func:`adaround` did to one layer."""

    nearest_error: float  #: mean square error of the layer's output, weights rounded to nearest
    error: float  #: the same after the choice
    changed: float  #: share of the weights that are not rounded to nearest


def _named(
    prepared: PreparedModule, reference: Reference | None, function: str
) -> list[tuple[str, torch.Tensor]]:
    if reference is None:
        return []
    known = {name for name, _ in prepared._access.tensors()}
    unknown = [name for name in reference if name not in known]
    if unknown:
        raise _C.Error(
            f"{function}: reference: the model has no tensor '{unknown[0]}'; give the state_dict() "
            "of the model that was prepared, qmodel.model"
        )
    return list(reference.items())


def equalize(qmodel: nn.Module) -> dict[tuple[str, str], tuple[float, float]]:
    """Cross-layer equalization: moves a factor per channel from each layer into the next one.

    Layers between which a value has one reader and passes only operators with f(s x) = s f(x)
    (ReLU, leaky ReLU, PReLU, pooling, dropout, flattening; not ReLU6) get channels of similar
    size. The float function stays what it is, up to one rounding of each parameter.

    Args:
        qmodel: a model made by :func:`prepare`, in ``eval()``, that has not been calibrated yet.

    Returns:
        {(first site, second site): (smallest, largest factor a channel was divided by)}.

    Raises:
        Error: in training mode, and when ranges have been observed: they would no longer fit.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU(), torch.nn.Linear(2, 2, bias=False)
    ... )
    >>> model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 16.0]])
    >>> model[2].weight.data = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> qmodel = qat_ext.prepare(model, torch.ones(1, 2)).eval()
    >>> qat_ext.equalize(qmodel)
    {('0', '2'): (1.0, 4.0)}
    >>> model[0].weight.tolist(), model[2].weight.tolist()
    ([[1.0, 0.0], [0.0, 4.0]], [[1.0, 4.0], [1.0, 4.0]])
    """
    prepared = _checked(qmodel, "equalize")
    prepared._access.model = prepared.model
    rows = _C.equalize(prepared._core)
    return {(first, second): (low, high) for first, second, low, high in rows}


def reestimate_batch_norm(qmodel: nn.Module, batches: Iterable[Example]) -> dict[str, float]:
    """Running statistics of every batch norm behind a layer, of the quantized model's values.

    Args:
        qmodel: a calibrated model in ``eval()``.
        batches: like examples of :func:`prepare`; each is used once.

    Returns:
        {site of the layer: how far a mean has moved at most, in standard deviations}.

    Raises:
        Error: in training mode, without batches, and where a quantizer has seen no data.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1, bias=False), torch.nn.BatchNorm2d(1))
    >>> x = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> qmodel = qat_ext.prepare(model, x).eval()
    >>> with qat_ext.calibrate(qmodel):
    ...     _ = qmodel(x)
    >>> list(qat_ext.reestimate_batch_norm(qmodel, [x]))
    ['0']
    >>> (model[1].running_mean - 3.5 * model[0].weight.item()).abs().item() < 0.02
    True
    """
    prepared = _checked(qmodel, "reestimate_batch_norm")
    lists = batch_tensors(prepared, batches, "reestimate_batch_norm")
    return dict(_C.reestimate_batch_norm(prepared._core, lists))


def correct_bias(
    qmodel: nn.Module, batches: Iterable[Example], reference: Reference | None = None
) -> dict[str, float]:
    """Adds to each layer's bias, or to batch norm's, what the mean of its output lost.

    Layers are corrected in the order of the forward, each with all before it corrected. Layers
    without bias and batch norm stay as they are.

    Args:
        qmodel: a calibrated model in ``eval()``.
        batches: like examples of :func:`prepare`; used once more for every layer.
        reference: a copy of ``qmodel.model.state_dict()`` from before another step changed the
            float function; default: the float model as it is.

    Returns:
        {site: largest magnitude added to a channel}.

    Raises:
        Error: in training mode, without batches, where a quantizer has seen no data, and for a
            reference of another model.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
    >>> x = torch.rand(16, 8)
    >>> qmodel = qat_ext.prepare(model, x, {"weights": {"bits": 2}}).eval()
    >>> with qat_ext.calibrate(qmodel), torch.no_grad():
    ...     before = qmodel(x).mean(0)
    >>> list(qat_ext.correct_bias(qmodel, [x]))
    ['0']
    >>> (qmodel(x).mean(0) - before).abs().max().item() < 1e-6
    True
    """
    prepared = _checked(qmodel, "correct_bias")
    lists = batch_tensors(prepared, batches, "correct_bias")
    named = _named(prepared, reference, "correct_bias")
    return dict(_C.correct_bias(prepared._core, lists, named))


def adaround(
    qmodel: nn.Module,
    batches: Iterable[Example],
    *,
    iterations: int = 500,
    lr: float = 1e-2,
    samples: int = 1024,
    seed: int = 0,
    reference: Reference | None = None,
) -> dict[str, Rounded]:
    """Chooses for each weight whether it is rounded up or down, so that outputs stay right.

    Layer by layer, on inputs that everything before has already quantized. The choice is written
    into the weights as code times scale; it is never worse on the data than rounding to nearest.

    Args:
        qmodel: a calibrated model in ``eval()``, with the weight method ``absmax``, ``mse``,
            ``lsq`` or ``tqt``.
        batches: like examples of :func:`prepare`.
        iterations: steps of Adam per layer, at least 1.
        lr: its rate, above 0.
        samples: how many rows of the batches are used, at least 1.
        seed: of the rows that a step looks at.
        reference: as in :func:`correct_bias`.

    Returns:
        {site: :class:`Rounded`}.

    Raises:
        Error: in training mode, without batches, where a quantizer has seen no data, for options
            out of range, and for a weight method that computes its scale otherwise.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(32, 4))
    >>> x = torch.rand(64, 32)
    >>> qmodel = qat_ext.prepare(model, x, {"weights": {"bits": 3}}).eval()
    >>> with qat_ext.calibrate(qmodel), torch.no_grad():
    ...     _ = qmodel(x)
    >>> layer = qat_ext.adaround(qmodel, [x], iterations=200)["0"]
    >>> layer.error < layer.nearest_error
    True
    """
    prepared = _checked(qmodel, "adaround")
    lists = batch_tensors(prepared, batches, "adaround")
    named = _named(prepared, reference, "adaround")
    options = _C.AdaroundOptions()
    options.iterations, options.lr, options.samples = iterations, lr, samples
    options.seed = seed
    rows = _C.adaround(prepared._core, lists, options, named)
    return {site: Rounded(nearest, error, changed) for site, nearest, error, changed in rows}
