"""Whether something else is registered in a model's modules."""

import collections
import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import qat_ext as qat
import torch
from qat_ext import _C
from torch import nn


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = block()
        self.second = block()
        self.shared = self.first  # met twice, entered once
        self.register_parameter("absent", None)


def rename(registered: dict, old: str, new: str) -> None:
    """At its place."""
    entries = [(new if name == old else name, value) for name, value in registered.items()]
    registered.clear()
    registered.update(entries)


def to_the_end(registered: dict, name: str) -> None:
    registered[name] = registered.pop(name)


def in_place_of(model: Net, conv: nn.Module) -> None:
    model.second[0] = conv


def loses_a_weight(model: Net) -> None:
    del model.second[0].weight


def loses_a_module(model: Net) -> None:
    del model.second[1]


def swap(model: Net) -> None:
    torch.utils.swap_tensors(model.second[0].weight, nn.Parameter(torch.zeros(4, 3, 1, 1)))


def become_a_copy(model: Net) -> None:
    model.second[0].__dict__.update(copy.deepcopy(model.second[0]).__dict__)


CHANGES: dict[str, Callable[[Net], object]] = {
    "tensor swapped": swap,
    "parameter replaced": lambda m: setattr(m.second[0], "bias", nn.Parameter(torch.zeros(4))),
    "parameter to None": lambda m: setattr(m.second[0], "bias", None),
    "parameter from None": lambda m: setattr(m, "absent", nn.Parameter(torch.zeros(1))),
    "parameter added": lambda m: setattr(m.second[2], "slope", nn.Parameter(torch.zeros(1))),
    "parameter removed": loses_a_weight,
    "parameter renamed": lambda m: rename(m.second[0]._parameters, "weight", "kernel"),
    "parameter moved": lambda m: to_the_end(m.second[0]._parameters, "weight"),
    "buffer replaced": lambda m: setattr(m.second[1], "running_var", torch.ones(4)),
    "buffer to None": lambda m: setattr(m.second[1], "running_var", None),
    "buffer added": lambda m: m.register_buffer("scale", torch.ones(1)),
    "buffer of None added": lambda m: m.register_buffer("scale", None),
    "last buffer renamed": lambda m: rename(m.second[1]._buffers, "num_batches_tracked", "steps"),
    "module replaced": lambda m: in_place_of(m, nn.Conv2d(3, 4, 1)),
    "module copied": lambda m: in_place_of(m, copy.deepcopy(m.second[0])),
    "module's dict replaced": become_a_copy,
    "module renamed": lambda m: rename(m._modules, "second", "other"),
    "module moved": lambda m: to_the_end(m._modules, "second"),
    "module added": lambda m: setattr(m, "third", nn.Identity()),
    "module of None added": lambda m: m.register_module("third", None),
    "module removed": loses_a_module,
    "module replaced by None": lambda m: m.second._modules.update({"2": None}),
    "modules exchanged": lambda m: m._modules.update(first=m.second, second=m.first),
    "shared module its own": lambda m: setattr(m, "shared", m.second),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_seen_once(change):
    model = Net()
    contents = _C.Contents(model)
    assert not contents.changed(model)
    change(model)
    assert contents.changed(model)
    again = _C.Contents(model)
    assert not again.changed(model)


def test_what_registers_nothing_else_is_no_change():
    model = Net()
    contents = _C.Contents(model)
    with torch.no_grad():
        model.second[0].weight.mul_(2)
        model.second[0].weight.data = torch.zeros(4, 3, 1, 1)
    model.eval().requires_grad_(False)
    model.second[0].note = "an attribute"
    weight = model.second[0].weight
    model.second[0].weight = None
    model.second[0].weight = weight
    assert not contents.changed(model)


def test_names_are_compared_by_their_text():
    model = Net()
    contents = _C.Contents(model)
    name = "".join(["sec", "ond"])
    assert name is not next(key for key in model._modules if key == name)
    model._modules = {(name if key == name else key): at for key, at in model._modules.items()}
    assert not contents.changed(model)


def test_another_model_is_a_change():
    model = Net()
    assert _C.Contents(model).changed(copy.deepcopy(model))
    assert _C.Contents(nn.Sequential()).changed(nn.Sequential())


def test_the_order_of_an_ordered_dict_counts():
    """Models that older versions of torch saved have them. Its order is not that of a dict."""
    model = Net()
    model._modules = collections.OrderedDict(model._modules)
    contents = _C.Contents(model)
    assert not contents.changed(model)
    model._modules.move_to_end("first")
    assert contents.changed(model)


def test_modules_below_themselves():
    model = Net()
    model.second.append(model)
    contents = _C.Contents(model)
    assert not contents.changed(model)
    del model.second[3]
    assert contents.changed(model)


def test_a_module_without_registers_is_an_error():
    model = Net()
    contents = _C.Contents(model)
    del model.second.__dict__["_buffers"]
    with pytest.raises(qat.Error, match=r"a dict '_buffers', got one of type 'Sequential'"):
        contents.changed(model)


def test_nothing_is_kept_alive():
    model = Net()
    contents = _C.Contents(model)
    gone = weakref.ref(model.second[0]), weakref.ref(model.second[0].weight)
    model.second[0] = nn.Conv2d(3, 4, 1)
    gc.collect()
    assert [each() for each in gone] == [None, None]
    assert contents.changed(model)


def addresses(linear: nn.Linear) -> list[int]:
    tensors = linear.weight, linear.bias
    return [id(linear), *map(id, tensors), *(tensor._cdata for tensor in tensors)]


def test_addresses_that_are_used_again_hide_nothing():
    """Each module is freed before the next one is made, which often gets its address."""
    model = nn.Sequential(nn.Linear(2, 2))
    for _ in range(50):
        contents = _C.Contents(model)
        before = addresses(model[0])
        del model[0]
        model.append(nn.Linear(2, 2))
        assert contents.changed(model) == (addresses(model[0]) != before)
