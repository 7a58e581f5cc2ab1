"""Nested arguments and results become flat lists of tensors and come back as they were."""

import dataclasses
from collections import OrderedDict

import pytest
import torch
from qat_ext._pytree import Signature, output_names, take_apart, tensor_names


@dataclasses.dataclass
class Result:
    logits: torch.Tensor
    label: str
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


def numbers(*values):
    return [torch.tensor(float(value)) for value in values]


def test_round_trip_keeps_everything_that_is_no_tensor():
    a, b, c = numbers(1, 2, 3)
    value = {"x": (a, 7, None), "y": [b, {"z": c}], "flag": True}
    tensors, structure = take_apart(value)
    assert [t.item() for t in tensors] == [1, 2, 3]
    assert structure.count == 3
    assert structure.rebuild(tensors) == value


def test_rebuild_takes_other_tensors():
    _, structure = take_apart((torch.zeros(1), "k"))
    (replaced,) = numbers(5)
    assert structure.rebuild([replaced]) == (replaced, "k")
    with pytest.raises(ValueError, match="expected 1 tensors, got 2"):
        structure.rebuild([replaced, replaced])


def test_dataclass_results():
    a, b, c = numbers(1, 2, 3)
    result = Result(a, "cat", (b, c))
    tensors, structure = take_apart(result)
    assert [t.item() for t in tensors] == [1, 2, 3]
    again = structure.rebuild(numbers(4, 5, 6))
    assert isinstance(again, Result)
    assert (again.logits.item(), again.label, again.loss) == (4, "cat", None)
    assert [t.item() for t in again.hidden] == [5, 6]
    assert result.logits is a  # the original is left alone


def test_structure_holds_no_tensor():
    """A kept tensor would keep the whole autograd graph of a step alive."""
    result = Result(*numbers(1), "cat", tuple(numbers(2)))
    _, structure = take_apart(result)
    assert "tensor(" not in repr(structure)


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (torch.zeros(1), []),
        ((torch.zeros(1), torch.zeros(1)), []),
        ({"a": torch.zeros(1), "b": (torch.zeros(1), None)}, ["a", "b.0"]),
        (OrderedDict(z=torch.zeros(1), a=torch.zeros(1)), ["z", "a"]),
        (Result(torch.zeros(1), "cat", (torch.zeros(1),)), ["logits", "hidden.0"]),
    ],
)
def test_output_names(output, names):
    assert output_names(output) == names


def test_names_stand_in_the_order_of_the_tensors():
    value = {"b": numbers(1, 2), "a": {"c": numbers(3)[0]}}
    assert tensor_names(value) == ["b.0", "b.1", "a.c"]
    assert [t.item() for t in take_apart(value)[0]] == [1, 2, 3]


def forward(ids, mask=None, *extra, scale=1.0, **rest):
    pass


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, 2), {"scale": 3}),
        ((1,), {"scale": 3, "mask": 2}),
        ((), {"scale": 3, "mask": 2, "ids": 1}),
    ],
)
def test_one_order_however_arguments_are_passed(args, kwargs):
    ordered_args, ordered_kwargs = Signature(forward).order(args, kwargs)
    assert [*ordered_args, *ordered_kwargs.values()] == [1, 2, 3]


def test_input_names():
    a, b, c, d = numbers(1, 2, 3, 4)
    signature = Signature(forward)
    assert signature.names((a, b), {}) == ["ids", "mask"]
    assert signature.names((a, b, c), {"scale": d}) == ["ids", "mask", "input2", "scale"]
    assert signature.names((), {"ids": a, "other": [b]}) == ["ids", "other.0"]
