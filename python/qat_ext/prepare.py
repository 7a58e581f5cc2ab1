"""Float model -> the same model training on integers."""

import contextlib
import copy
import functools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NoReturn, TypeAlias, cast

import torch
from torch import nn

from qat_ext import _C
from qat_ext._access import ModelAccess, buffers_restored, modes_restored
from qat_ext._recipe import Recipe, recipe_json

#: A tensor, a tuple of positional arguments, or a mapping of keyword arguments.
Example: TypeAlias = torch.Tensor | tuple[Any, ...] | Mapping[str, Any]
Phase: TypeAlias = Literal["floating", "calibrate", "qat"]


def as_call(example: Example, place: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments (args, kwargs) that an example stands for."""
    if isinstance(example, torch.Tensor):
        return (example,), {}
    if isinstance(example, tuple):
        return example, {}
    if isinstance(example, Mapping):
        return (), dict(example)
    raise _C.Error(
        f"{place}: expected a tensor, a tuple of arguments or a dict of keyword arguments, got "
        f"{type(example).__name__}"
    )


def batch_tensors(
    prepared: "PreparedModule", batches: Iterable[Example], function: str
) -> list[list[torch.Tensor]]:
    """The tensors of each batch that `function` was given, ready to run the model on."""
    prepared._access.model = prepared.model
    places = ((f"{function}: batches[{index}]", batch) for index, batch in enumerate(batches))
    return [prepared._access.batch(*as_call(batch, place), place) for place, batch in places]


class QuantizerState(nn.Module):
    """One level of the tree of quantizers. Its buffers and parameters are the engine's own tensors.

    Moving or casting the model leaves them alone, and loading a state dict always writes into
    them (also with ``assign=True``): a buffer put in their place would be unknown to the engine.
    """

    def place(self, path: str, tensor: torch.Tensor) -> None:
        """Registers `tensor` as the buffer or, where it is learned, the parameter `path`, dotted,
        making the levels on the way."""
        head, dot, rest = path.partition(".")
        if not dot:
            # Not register_buffer: sites may be named like a method of nn.Module ("type", "half").
            if tensor.requires_grad:
                # What makes isinstance(tensor, nn.Parameter) true: a new Parameter would be another
                # tensor than the engine's, and its gradient would stay empty.
                tensor._is_param = True
                self._parameters[head] = cast(nn.Parameter, tensor)
            else:
                self._buffers[head] = tensor
            return
        if head not in self._modules:
            self._modules[head] = QuantizerState()
        cast(QuantizerState, self._modules[head]).place(rest, tensor)

    def _apply(self, fn: Any, recurse: bool = True) -> "QuantizerState":
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        metadata = {**local_metadata, "assign_to_params_buffers": False}
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)


def _settle(module: nn.Module, *_: Any) -> None:
    """Moves the ranges by what the latest forward observed, which otherwise waits for the next
    one: a state dict must hold it, and it must not arrive on top of a state dict that was loaded.
    """
    cast(PreparedModule, module)._core.state()


class PreparedModule(nn.Module):
    """A model that runs with its quantizers in place; made by :func:`prepare`.

    ``model`` is the user's own module, unmodified: its parameters keep their names below
    ``model.``. ``quantizers`` mirrors its module tree and holds ranges, counts and the schedule in
    buffers, all of them from the start and with their final shapes, so that ``load_state_dict`` is
    strict and an optimizer that is built right after :func:`prepare` misses nothing.
    """

    model: nn.Module
    quantizers: QuantizerState

    def __init__(self, model: nn.Module, examples: list[Example], recipe: str) -> None:
        super().__init__()
        self._examples = examples
        self._access = ModelAccess(model)
        tensors = [
            self._access.add_example(*as_call(example, f"prepare: example_inputs[{index}]"))
            for index, example in enumerate(examples)
        ]
        with modes_restored(model), buffers_restored(model):
            self._core = _C.PreparedModel(self._access, tensors, recipe)
        self.model = model
        self.quantizers = QuantizerState()
        for name, tensor in self._core.state():
            self.quantizers.place(name, tensor)
        self._taps: dict[str, torch.Tensor | None] = {}
        self.training = model.training
        for module in self.quantizers.modules():
            module.training = model.training
        self.register_state_dict_pre_hook(_settle)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_settle)  # type: ignore[no-untyped-call]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The user's forward, quantized as :attr:`phase` says; arguments and result are its own.

        Threads that call one prepared model take turns. A weight that the forward itself writes
        through ``.data``, which leaves no trace, counts from the next forward on.
        """
        if "torch._dynamo" in sys.modules:
            if torch.compiler.is_exporting():
                raise _C.Error(
                    "forward: torch.export cannot trace a prepared model; export the integer model "
                    "with convert() and save()"
                )
            return _run_uncompiled(self, args, kwargs)
        return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._access.model = self.model
        return self._access.run(self._core, args, kwargs, self._taps)

    @property
    def phase(self) -> Phase:
        """``floating``, ``calibrate`` (observe, do not quantize) or ``qat`` (both)."""
        return cast(Phase, self._core.phase.name)

    @phase.setter
    def phase(self, phase: Phase) -> None:
        known = _C.Phase.__members__
        if phase not in known:
            raise _C.Error(f"phase: expected one of {', '.join(known)}, got {phase!r}")
        self._core.phase = known[phase]

    def sites(self) -> list[str]:
        """Names of the operators whose results depend on the inputs, in the forward's order."""
        return self._core.sites()

    def plan(self) -> str:
        """See :func:`plan`."""
        return self._core.plan()

    def freeze_batch_norm(self, frozen: bool = True) -> None:
        """Batch norm uses its running statistics also in ``train()``."""
        self._core.batch_norm_frozen = frozen

    def freeze_ranges(self, frozen: bool = True) -> None:
        """Ranges stop following the data."""
        self._core.ranges_frozen = frozen

    def __deepcopy__(self, memo: dict[int, Any]) -> "PreparedModule":
        copied = PreparedModule(
            copy.deepcopy(self.model, memo), self._examples, self._core.recipe()
        )
        with torch.no_grad():
            for (_, theirs), (_, ours) in zip(
                copied._core.state(), self._core.state(), strict=True
            ):
                theirs.copy_(ours)
                theirs.requires_grad_(ours.requires_grad)
        copied.training = self.training
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _C.Error(
            "PreparedModule: cannot be pickled; save state_dict(), and load it into a module made "
            "by prepare() with the same recipe"
        )


@functools.cache
def _uncompiled() -> Any:
    return torch.compiler.disable(PreparedModule._run)


def _run_uncompiled(module: PreparedModule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Under torch.compile too, the engine meets the model's own operators."""
    return _uncompiled()(module, args, kwargs)


def _checked(qmodel: nn.Module, function: str) -> PreparedModule:
    if not isinstance(qmodel, PreparedModule):
        raise _C.Error(
            f"{function}: expected a model made by prepare(), got {type(qmodel).__name__}"
        )
    return qmodel


def _refuse_hidden_operators(model: nn.Module) -> None:
    for name, module in model.named_modules():
        place = f"the submodule '{name}'" if name else "the model"
        if isinstance(module, PreparedModule):
            raise _C.Error(
                f"prepare: {place} is already a prepared model; prepare its .model, or the outer "
                "model alone"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise _C.Error(
                f"prepare: {place} is compiled by torch.jit, which hides its operators; prepare "
                "the Python module that it was made from"
            )


def prepare(
    model: nn.Module,
    example_inputs: Example | list[Example],
    recipe: Recipe = "int8",
) -> PreparedModule:
    """Puts quantizers into `model` as `recipe` says.

    Args:
        model: any module; it is run, not rewritten, and stays the owner of its parameters.
        example_inputs: a tensor, a tuple of positional arguments, a dict of keyword arguments, or
            a list of such examples. Axis 0 of the tensors is the batch. The model is planned by the
            first example; the others must take the same path through it, since a prepared model
            holds one path only. Where a model decides by its data, let it compute both ways and
            select with ``torch.where``.
        recipe: a name (``"int8"``, ``"int8-symmetric"``), the path of a YAML file, or a dict of the
            keys that differ from the default, as in ``{"weights": {"bits": 4}}``.

    Returns:
        A module to train in an ordinary loop. Buffers, modes and the random state of `model` are
        as before.

    Raises:
        Error: naming the site that cannot be planned, the parameter that is not float32, the
            example that takes another path, or the key of the recipe that is wrong.
    """
    if not isinstance(model, nn.Module):
        raise _C.Error(f"prepare: model: expected a torch.nn.Module, got {type(model).__name__}")
    _refuse_hidden_operators(model)
    examples = list(example_inputs) if isinstance(example_inputs, list) else [example_inputs]
    if not examples:
        raise _C.Error("prepare: example_inputs: expected at least one example, got an empty list")
    return PreparedModule(model, examples, recipe_json(recipe))


def plan(qmodel: nn.Module) -> str:
    """One row per site: operator, bits, granularity, method, or why it stays float."""
    return _checked(qmodel, "plan").plan()


def activation_ranges(
    qmodel: nn.Module, inputs: Example
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The float model's smallest and largest value per channel at each site, on one batch.

    Channels whose ranges differ by orders of magnitude are what one scale per tensor serves badly.

    Args:
        qmodel: a model made by :func:`prepare`, in ``eval()``.
        inputs: a batch, like an example of :func:`prepare`.

    Returns:
        {site: (min, max)}, float32[C] each, in the order of the forward. Channels are axis 1 of
        tensors of rank 4 and 5 and the last axis of others. Values that are not finite do not
        count; a channel without any other has the range 0 to 0.

    Raises:
        Error: when the model is in training mode or was not made by :func:`prepare`.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
    >>> model[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 100.0]])
    >>> qmodel = qat_ext.prepare(model, torch.ones(1, 2)).eval()
    >>> low, high = qat_ext.activation_ranges(qmodel, torch.tensor([[1.0, 2.0], [-3.0, 4.0]]))["0"]
    >>> low.tolist(), high.tolist()
    ([-3.0, 200.0], [1.0, 400.0])
    """
    prepared = _checked(qmodel, "activation_ranges")
    place = "activation_ranges: inputs"
    tensors = prepared._access.batch(*as_call(inputs, place), place)
    prepared._access.model = prepared.model
    found = prepared._core.activation_ranges(tensors)
    return {site: (low, high) for site, low, high in found}


@contextlib.contextmanager
def calibrate(qmodel: nn.Module) -> Iterator[None]:
    """Inside, forwards observe ranges and quantize nothing; afterwards the phase is ``qat``.

    After an exception the phase is what it was before.
    """
    prepared = _checked(qmodel, "calibrate")
    before = prepared.phase
    prepared.phase = "calibrate"
    try:
        yield
    except BaseException:
        prepared.phase = before
        raise
    prepared.phase = "qat"


def step(qmodel: nn.Module, fraction: float) -> None:
    """Applies the recipe's schedule at `fraction` of the quantization-aware training.

    Which sites compute in integers (``schedule.start``, ``start`` of a rule), with how many bits
    (``schedule.stages``), what is frozen (``freeze``), and the weight of :func:`oscillation_loss`.
    The schedule never goes back: a smaller fraction than before changes nothing.

    Args:
        qmodel: a model made by :func:`prepare`.
        fraction: from 0, the start, to 1, the end, where batch norm and ranges are both frozen. In
            a loop of n steps, ``i / n`` before step i from 0 to n - 1, and 1 behind the last.

    Raises:
        Error: when the fraction is outside 0 to 1.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    >>> qmodel = qat_ext.prepare(model, torch.ones(1, 2), {"schedule": {"start": 0.5}})
    >>> for i in range(4):
    ...     qat_ext.step(qmodel, i / 4)  # from i = 2 on, the layer computes in integers
    ...     _ = qmodel(torch.randn(8, 2))
    >>> qat_ext.step(qmodel, 1)
    >>> float(qmodel.quantizers.schedule.fraction)
    1.0
    """
    prepared = _checked(qmodel, "step")
    if isinstance(fraction, str) or not hasattr(fraction, "__float__"):
        raise _C.Error(f"step: fraction: expected a number from 0 to 1, got {fraction!r}")
    prepared._core.step(float(fraction))


def oscillation_loss(qmodel: nn.Module) -> torch.Tensor:
    """What ``recipe.oscillation.damping`` adds to the loss of the latest training forward.

    ``damping * (1 - cos(pi * fraction)) / 2`` times the sum over all quantized weights of the
    squared distance from the value of their code, with the fraction of :func:`step`. Weights beyond
    the last code do not count. Codes and scales are constants: the gradient is the weights' alone.

    Args:
        qmodel: a model made by :func:`prepare`, after a forward in ``train()``.

    Returns:
        float32, 0-d; 0 where the recipe has no damping.

    Raises:
        Error: when no training forward has run since :func:`prepare`.

    >>> import torch, qat_ext
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
    >>> model[0].weight.data = torch.tensor([[0.7, 0.26]])  # codes of 4 bits: 7 and rne(2.6) = 3
    >>> recipe = {"weights": {"bits": 4}, "oscillation": {"damping": 1.0}}
    >>> qmodel = qat_ext.prepare(model, torch.ones(1, 2), recipe)
    >>> qat_ext.step(qmodel, 1)
    >>> loss = qmodel(torch.ones(1, 2)).sum() + qat_ext.oscillation_loss(qmodel)
    >>> round(qat_ext.oscillation_loss(qmodel).item(), 6)  # (0.3 - 0.26) squared
    0.0016
    """
    return _checked(qmodel, "oscillation_loss")._core.oscillation_loss()
