"""Prepared model -> integer model, its file, and the proof that both compute the same."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from torch import nn

from qat_ext import _C
from qat_ext._access import modes_restored
from qat_ext._pytree import take_apart, tensor_names
from qat_ext.prepare import Example, PreparedModule, _checked, batch_tensors


def _spelled(value: Any) -> str:
    """The value where that is short, else its type."""
    if type(value).__name__ == "ndarray":
        return "a numpy array (torch.from_numpy() makes it a tensor)"
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    return f"an object of type {type(value).__name__}"


class IntegerModel:
    """A model that runs on integers, made by :func:`convert` or :func:`load`.

    Calling it with the float model's tensors gives one tensor, a tuple of tensors, or, where the
    float model returned named results, a dict of tensors by (dotted) name.
    """

    def __init__(self, core: _C.IntegerModel) -> None:
        self._core = core

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, executor="fast", **kwargs)

    def run(
        self, *args: Any, executor: Literal["fast", "reference"] = "fast", **kwargs: Any
    ) -> Any:
        """The same with a choice of executor; both give the same bits."""
        outputs = self._core.forward(
            self._tensors(args, kwargs), _C.ExecutorKind.__members__[executor]
        )
        names = self._core.output_names
        if names:
            return dict(zip(names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the int8 checkpoint (docs/format.md), whole or not at all."""
        self._core.save(os.fspath(path))

    def integer_fraction(self) -> float:
        """Share of the multiply-accumulates of conv and linear layers that the latest call ran in
        integers, counted by the kernels."""
        return self._core.integer_fraction()

    def nodes(self) -> list[tuple[str, str]]:
        """(site, operator) of every node in the order of execution."""
        return self._core.nodes()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _C.Error(
            "IntegerModel: cannot be copied or pickled; save() it to a file and load() that"
        )

    @property
    def input_names(self) -> list[str]:
        """Names that the tensors of a call may be passed under."""
        return self._core.input_names

    @property
    def provenance(self) -> dict[str, str]:
        """Where the model came from; assign a dict of strings before :meth:`save`."""
        return self._core.provenance

    @provenance.setter
    def provenance(self, provenance: Mapping[str, str]) -> None:
        self._core.provenance = dict(provenance)

    def _tensors(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        names = self._core.input_names
        tensors, _ = take_apart(args)
        keywords, _ = take_apart(dict(kwargs))
        constants = take_apart((args, dict(kwargs)))[1].constants()
        if constants:
            raise _C.Error(
                f"integer model: expected tensors, got {_spelled(constants[0])}; other arguments "
                "are fixed by the example that the model was prepared with"
            )
        rest = names[len(tensors) :]
        named = dict(zip(tensor_names(dict(kwargs)), keywords, strict=True))
        unknown = [name for name in named if name not in rest]
        missing = [name for name in rest if name not in named]
        if unknown or missing or len(tensors) > len(names):
            given = [f"{len(tensors)} positional", *named]
            raise _C.Error(
                f"integer model: expected the tensors {', '.join(names)}; got {', '.join(given)}"
            )
        return tensors + [named[name] for name in rest]


@dataclass(frozen=True)
class VerifyReport:
    """What :func:`verify` counted."""

    logits: int  #: compared
    differing: int  #: in any bit, in any of the executors
    differing_parameters: int  #: tensors of the file that lowering the model again changes
    first_difference: str  #: the first site whose codes differ, or the first such tensor

    @property
    def equal(self) -> bool:
        """Nothing differs."""
        return self.differing == 0 and self.differing_parameters == 0


def convert(qmodel: nn.Module) -> IntegerModel:
    """Folds batch norm, quantizes the weights and computes the requantization constants.

    Raises:
        Error: when `qmodel` is not in ``eval()``, or naming a site whose quantizer saw no data.
    """
    prepared = _checked(qmodel, "convert")
    with modes_restored(prepared.model):
        core = _C.convert(prepared._core)
    access = prepared._access
    if len(access.input_names) == len(core.input_names):
        core.input_names = access.input_names
    if access.output_names:
        core.output_names = access.output_names
    return IntegerModel(core)


def load(path: str | os.PathLike[str]) -> IntegerModel:
    """Reads an int8 checkpoint and checks every rule of docs/format.md.

    Raises:
        Error: naming the file, the place in it, the rule and the value found.
    """
    return IntegerModel(_C.IntegerModel.load(os.fspath(path)))


def verify(qmodel: nn.Module, int8: IntegerModel, batches: Iterable[Example]) -> VerifyReport:
    """Compares the prepared model in ``eval()``, both executors and a reloaded copy bit for bit.

    Args:
        qmodel: the model that `int8` was converted from.
        int8: the integer model.
        batches: inputs in the forms that :func:`qat_ext.prepare` takes: a tensor, a tuple of
            arguments or a dict of keyword arguments each. A (image, label) pair of a data loader
            is a tuple of two arguments: pass the image alone.

    Raises:
        Error: without any batch, which would prove nothing, and naming a batch that does not fit.
    """
    prepared: PreparedModule = _checked(qmodel, "verify")
    flat = batch_tensors(prepared, batches, "verify")
    if not flat:
        raise _C.Error(
            "verify: no inputs were given; pass at least one batch (an iterator that has been read "
            "once is empty)"
        )
    with modes_restored(prepared.model):
        report = _C.verify(prepared._core, int8._core, flat)
    return VerifyReport(
        report.logits, report.differing, report.differing_parameters, report.first_difference
    )
