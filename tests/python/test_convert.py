"""The integer model in Python: calls, names, files."""

import copy
import dataclasses
import pickle

import pytest
import qat_ext as qat
import torch
from torch import nn


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(4, 8)
        self.right = nn.Linear(4, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, a, b):
        return {"logits": self.last(torch.relu(self.left(a) + self.right(b)))}


@pytest.fixture
def converted():
    a, b = torch.randn(16, 4), torch.randn(16, 4)
    qmodel = qat.prepare(TwoInputs(), (a, b))
    with qat.calibrate(qmodel), torch.no_grad():
        qmodel(a, b)
    qat.step(qmodel, 1.0)
    return qmodel.eval(), qat.convert(qmodel)


def test_call_by_place_and_by_name(converted):
    qmodel, int8 = converted
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    with torch.no_grad():
        expected = qmodel(a, b)["logits"]
    assert int8.input_names == ["a", "b"]
    for result in (int8(a, b), int8(a, b=b), int8(b=b, a=a), int8.run(a, b, executor="reference")):
        assert list(result) == ["logits"]
        assert torch.equal(result["logits"], expected)


def test_wrong_arguments_are_named(converted):
    _, int8 = converted
    a = torch.randn(5, 4)
    with pytest.raises(qat.Error, match="expected the tensors a, b; got 1 positional$"):
        int8(a)
    with pytest.raises(qat.Error, match="expected the tensors a, b; got 1 positional, c"):
        int8(a, c=a)
    with pytest.raises(qat.Error, match="expected the tensors a, b; got 3 positional"):
        int8(a, a, a)
    with pytest.raises(qat.Error, match="integer model: expected tensors, got True; other arg"):
        int8(a, a, double=True)


def test_file_keeps_names_and_provenance(converted, tmp_path):
    qmodel, int8 = converted
    int8.provenance = {"job": "test"}
    path = tmp_path / "model.safetensors"
    int8.save(path)
    loaded = qat.load(path)
    assert loaded.input_names == ["a", "b"]
    assert loaded.provenance == {"job": "test"}
    assert loaded.nodes() == int8.nodes()
    a, b = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(loaded(a=a, b=b)["logits"], int8(a, b)["logits"])
    assert loaded.integer_fraction() == 1.0


def test_verify_counts_logits(converted):
    qmodel, int8 = converted
    batches = [
        (torch.randn(5, 4), torch.randn(5, 4)),
        {"b": torch.randn(2, 4), "a": torch.randn(2, 4)},
    ]
    report = qat.verify(qmodel, int8, batches)
    assert report == qat.VerifyReport(21, 0, 0, "")
    assert report.equal
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.differing = 1


def test_verify_sees_a_changed_parameter(converted):
    qmodel, int8 = converted
    with torch.no_grad():
        qmodel.model.last.bias.add_(1.0)
    report = qat.verify(qmodel, int8, [(torch.randn(5, 4), torch.randn(5, 4))])
    assert not report.equal
    assert report.differing == 15
    assert report.differing_parameters > 0
    assert report.first_difference


def test_convert_needs_eval():
    qmodel = qat.prepare(nn.Sequential(nn.Linear(4, 3)), torch.randn(4, 4))
    with pytest.raises(qat.Error, match=r"eval\(\)"):
        qat.convert(qmodel.train())


def test_tuple_results():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.a(x), self.b(x)

    x = torch.randn(8, 4)
    qmodel = qat.prepare(Pair(), x)
    with qat.calibrate(qmodel), torch.no_grad():
        qmodel(x)
    result = qat.convert(qmodel.eval())(x)
    assert isinstance(result, tuple)
    with torch.no_grad():
        for ours, theirs in zip(result, qmodel(x), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "^verify: no inputs were given; pass at least one batch"),
        (iter(()), "^verify: no inputs were given; pass at least one batch"),
        (
            [(torch.zeros(5, 4), torch.zeros(5, 4), torch.zeros(5))],
            r"^verify: batches\[0\]: expected 2 tensors, as in the example that prepare\(\) was "
            r"given, got 3; of a pair \(input, label\) pass the input alone",
        ),
        ([torch.zeros(5, 4)], r"^verify: batches\[0\]: expected 2 tensors, .*, got 1$"),
        ([[torch.zeros(5, 4)]], r"^verify: batches\[0\]: expected a tensor, a tuple of arguments"),
    ],
)
def test_verify_takes_batches_like_the_example(converted, batches, message):
    with pytest.raises(qat.Error, match=message):
        qat.verify(*converted, batches)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_go_through_a_file(converted, copied):
    message = r"IntegerModel: cannot be copied or pickled; save\(\) it to a file and load\(\) that"
    with pytest.raises(qat.Error, match=message):
        copied(converted[1])


def test_arguments_that_are_no_tensors(converted):
    x = torch.zeros(5, 4)
    with pytest.raises(qat.Error, match=r"expected tensors, got a numpy array \(torch\.from_nu"):
        converted[1](x.numpy(), x)
    with pytest.raises(qat.Error, match="expected tensors, got 3; other arguments are fixed by"):
        converted[1](x, x, 3)
    with pytest.raises(qat.Error, match="expected tensors, got an object of type set; other"):
        converted[1](x, x, {1})
