"""Activation checkpointing of a prepared model (csrc/insert/recompute.h, Note [Recomputation])."""

import sys
from collections.abc import Callable
from typing import Any

from qat_ext import _C
from qat_ext._pytree import take_apart


class _Part:
    """A checkpointed function: its first call is part of a forward, the others recompute it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._start: _C.Recomputation | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors = take_apart((args, kwargs))[0]
        if self._start is None:
            self._start = _C.Recomputation.begin(tensors)
            run = self._start.first_run()
        else:
            run = self._start.run_again(tensors)
        with run:
            return self._function(*args, **kwargs)


def _mark(function: Callable[..., Any]) -> Callable[..., Any]:
    """Outside of a prepared model's forward `function` itself."""
    return _Part(function) if _C.in_forward() else function


def follow_checkpointing() -> None:
    """Lets torch.utils.checkpoint tell the engine what it recomputes.

    Both of its implementations are reached through names of its module, which stay where user code
    has imported ``checkpoint`` itself. Does nothing until somebody has imported that module.
    """
    module: Any = sys.modules.get("torch.utils.checkpoint")
    if module is None or hasattr(module, "_qat_ext_follows"):
        return
    reentrant, generator = module.CheckpointFunction, module._checkpoint_without_reentrant_generator

    class CheckpointFunction(reentrant):  # type: ignore[misc, valid-type]
        @classmethod
        def apply(cls, function: Callable[..., Any], *args: Any) -> Any:
            return reentrant.apply(_mark(function), *args)

    def _checkpoint_without_reentrant_generator(
        fn: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        return generator(_mark(fn), *args, **kwargs)

    module.CheckpointFunction = CheckpointFunction
    module._checkpoint_without_reentrant_generator = _checkpoint_without_reentrant_generator
    module._qat_ext_follows = True
