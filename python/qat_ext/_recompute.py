"""Activation checkpointing of a prepared model (csrc/insert/recompute.h, Note [Recomputation])."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from qat_ext import _C
from qat_ext._pytree import take_apart


class _Part:
    """A checkpointed function: its first call is part of a forward, the others recompute it."""

    def __init__(
        self, start: _C.Recomputation, function: Callable[..., Any], first_call: bool
    ) -> None:
        self._start = start
        self._function = function
        self._first_call = first_call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._first_call:
            self._first_call = False
            run = self._start.first_run()
        else:
            run = self._start.run_again(take_apart((args, kwargs))[0])
        with run:
            return self._function(*args, **kwargs)


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
        def apply(cls, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
            start = _C.Recomputation.begin(take_apart(args)[0])
            part = function if start is None else _Part(start, function, first_call=True)
            return reentrant.apply(part, preserve, *args)

    def _checkpoint_without_reentrant_generator(
        fn: Callable[..., Any],
        preserve: bool,
        context_fn: Any,
        determinism: str,
        debug: bool,
        early_stop: bool,
        *args: Any,
        **kwargs: Any,
    ) -> Iterator[None]:
        options = (preserve, context_fn, determinism, debug, early_stop)
        start = _C.Recomputation.begin(take_apart((args, kwargs))[0])
        if start is None:
            yield from generator(fn, *options, *args, **kwargs)
            return
        part = _Part(start, fn, first_call=False)  # the caller makes the first call by itself
        with start.first_run():
            yield from generator(part, *options, *args, **kwargs)

    module.CheckpointFunction = CheckpointFunction
    module._checkpoint_without_reentrant_generator = _checkpoint_without_reentrant_generator
    module._qat_ext_follows = True
