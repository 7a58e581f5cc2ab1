"""How the C++ engine reaches a Python model."""

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from qat_ext import _C
from qat_ext._pytree import Signature, Structure, output_names, take_apart
from qat_ext._recompute import follow_checkpointing


class ModelAccess:
    """The user's model behind lists of tensors.

    The engine calls :meth:`forward`, :meth:`tensors`, :meth:`generation`, :meth:`is_training` and
    :meth:`train`. It holds this object, and this object holds the model: nothing here may refer to
    the engine, or neither would ever be freed.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.input_names: list[str] = []
        self.output_names: list[str] = []
        self._signature = Signature(model.forward)
        self._examples: list[Structure] = []
        self._live: Structure | None = None
        self._output: Structure | None = None
        self._lock = threading.RLock()
        self._contents = _C.Contents(model)
        self._generation = 1

    def take_apart(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[torch.Tensor], Structure]:
        return take_apart(self._signature.order(args, kwargs))

    def add_example(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """The example's tensors. Its other arguments are used wherever the engine runs the model
        on as many tensors by itself."""
        tensors, structure = self.take_apart(args, kwargs)
        if not tensors:
            raise _C.Error("prepare: example_inputs: expected at least one tensor, got none")
        for known in self._examples:
            if known.count == structure.count and known.spec != structure.spec:
                raise _C.Error(
                    "prepare: example_inputs: two examples hold the same number of tensors "
                    f"({structure.count}) under different arguments; pass their tensors under "
                    "the same arguments"
                )
        if not self._examples:
            self.input_names = self._signature.names(*self._signature.order(args, kwargs))
        self._examples.append(structure)
        return tensors

    def batch(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], place: str
    ) -> list[torch.Tensor]:
        """The tensors of a batch that the engine is to run the model on by itself."""
        tensors, _ = self.take_apart(args, kwargs)
        counts = sorted({structure.count for structure in self._examples})
        if len(tensors) not in counts:
            expected = " or ".join(str(count) for count in counts)
            hint = "; of a pair (input, label) pass the input alone" if len(tensors) > 1 else ""
            raise _C.Error(
                f"{place}: expected {expected} tensor{'s' * (counts != [1])}, as in the example "
                f"that prepare() was given, got {len(tensors)}{hint}"
            )
        return tensors

    def run(
        self,
        core: _C.PreparedModel,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        taps: dict[str, torch.Tensor | None],
    ) -> Any:
        """One forward through the engine with the user's own arguments and result.

        The values at the sites that `taps` names are put into it.
        """
        tensors, structure = self.take_apart(args, kwargs)
        with self._lock:  # threads take turns: a forward moves ranges and fixes parameters
            outer, self._live = self._live, structure
            try:
                if taps:
                    outputs, values = core.forward_with_taps(tensors, list(taps))
                    taps.update(zip(taps, values, strict=True))
                else:
                    outputs = core.forward(tensors)
                assert self._output is not None  # the engine calls forward() below
                return self._output.rebuild(outputs)
            finally:
                self._live = outer
                self._output = None

    # ---- called by the engine ----

    def forward(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        structure = self._live if self._live is not None else self._example(len(tensors))
        args, kwargs = structure.rebuild(tensors)
        follow_checkpointing()
        with fused_attention_off(), compilation_off():
            output = self.model(*args, **kwargs)
        flat, self._output = take_apart(output)
        if self._live is None:
            self.output_names = output_names(output)
        return flat

    def tensors(self) -> list[tuple[str, torch.Tensor]]:
        parameters = self.model.named_parameters(remove_duplicate=False)
        buffers = self.model.named_buffers(remove_duplicate=False)
        return [(name, tensor) for name, tensor in (*parameters, *buffers)]

    def generation(self) -> int:
        """Another number when parameters, buffers, submodules or their names have changed."""
        if self._contents.changed(self.model):
            self._contents = _C.Contents(self.model)
            self._generation += 1
        return self._generation

    def is_training(self) -> bool:
        return self.model.training

    def train(self, on: bool) -> None:
        self.model.train(on)

    def _example(self, count: int) -> Structure:
        for structure in self._examples:
            if structure.count == count:
                return structure
        raise _C.Error(
            f"forward: no example that prepare() was given has {count} tensors; pass the inputs "
            "like those examples"
        )


@contextlib.contextmanager
def fused_attention_off() -> Iterator[None]:
    """nn.MultiheadAttention's inference path hides its linear layers in one operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextlib.contextmanager
def compilation_off() -> Iterator[None]:
    """Compiled submodules run operator by operator: a compiled graph hides its layers."""
    if "torch._dynamo" not in sys.modules:  # importing it takes seconds, and nothing is compiled
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def buffers_restored(model: nn.Module) -> Iterator[None]:
    """Puts buffers back that a forward replaces by other tensors; the engine restores values."""
    kept = [(module, dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, buffers in kept:
            module._buffers.update(buffers)


@contextlib.contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """Puts every module's training flag back: the engine switches the whole model at once, which
    would lose the modules that a user keeps in eval()."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
