"""Nested arguments and results as flat lists of tensors, and back."""

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree


class _Slot:
    """Stands where a tensor was taken out."""


_SLOT = _Slot()


@dataclasses.dataclass(frozen=True)
class _Record:
    """A dataclass instance that torch.utils._pytree does not know: its fields lie in `fields`."""

    shell: Any
    fields: "Structure"

    def rebuild(self, tensors: Iterator[torch.Tensor]) -> Any:
        record = copy.copy(self.shell)
        for name, value in self.fields._fill(tensors).items():
            object.__setattr__(record, name, value)
        return record


@dataclasses.dataclass(frozen=True)
class Structure:
    """A nested value without its tensors."""

    spec: pytree.TreeSpec
    leaves: tuple[Any, ...]
    count: int  # tensors

    def constants(self) -> list[Any]:
        """What is neither a tensor nor None."""
        return [leaf for leaf in self.leaves if leaf is not _SLOT and leaf is not None]

    def rebuild(self, tensors: Sequence[torch.Tensor]) -> Any:
        """The nested value with `tensors` in its slots; their number must be `count`."""
        if len(tensors) != self.count:
            raise ValueError(f"expected {self.count} tensors, got {len(tensors)}")
        return self._fill(iter(tensors))

    def _fill(self, tensors: Iterator[torch.Tensor]) -> Any:
        leaves = []
        for leaf in self.leaves:
            if leaf is _SLOT:
                leaves.append(next(tensors))
            elif isinstance(leaf, _Record):
                leaves.append(leaf.rebuild(tensors))
            else:
                leaves.append(leaf)
        return pytree.tree_unflatten(leaves, self.spec)


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def take_apart(value: Any) -> tuple[list[torch.Tensor], Structure]:
    """The tensors of a nested value in order, and what remains of it."""
    tensors: list[torch.Tensor] = []
    leaves: list[Any] = []
    flat, spec = pytree.tree_flatten(value)
    for leaf in flat:
        if isinstance(leaf, torch.Tensor):
            tensors.append(leaf)
            leaves.append(_SLOT)
        elif _is_record(leaf):
            inner, fields = take_apart(_fields(leaf))
            shell = copy.copy(leaf)
            for name in _fields(leaf):
                object.__setattr__(shell, name, None)
            tensors.extend(inner)
            leaves.append(_Record(shell, fields))
        else:
            leaves.append(leaf)
    return tensors, Structure(spec, tuple(leaves), len(tensors))


def tensor_names(value: Any, prefix: str = "") -> list[str]:
    """Dotted names of the tensors of `value`, in the order of :func:`take_apart`."""
    if isinstance(value, torch.Tensor):
        return [prefix]
    if isinstance(value, Mapping):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    elif _is_record(value):
        items = list(_fields(value).items())
    else:
        return []
    return [
        name
        for key, item in items
        for name in tensor_names(item, f"{prefix}.{key}" if prefix else str(key))
    ]


def output_names(output: Any) -> list[str]:
    """Names of a result's tensors, or none where it has no names (a tensor, a tuple)."""
    if isinstance(output, (torch.Tensor, list)) or type(output) is tuple:
        return []
    return tensor_names(output)


class Signature:
    """Brings the arguments of a forward into one order, however they are passed.

    Positional arguments come first by nature; keywords are sorted by their place in the signature,
    so that ``f(a, b)``, ``f(a, b=b)`` and ``f(b=b, a=a)`` give the same list of tensors.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        parameters = inspect.signature(forward).parameters.values()
        self._names = [p.name for p in parameters]
        self._positional = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]

    def order(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        places = {name: place for place, name in enumerate(self._names)}
        keys = sorted(kwargs, key=lambda key: (places.get(key, len(places)), key))
        return args, {key: kwargs[key] for key in keys}

    def names(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
        """A name for each tensor of ordered arguments."""
        extra = [f"input{place}" for place in range(len(self._positional), len(args))]
        positional = zip(self._positional + extra, args, strict=False)
        return tensor_names({**dict(positional), **kwargs})
