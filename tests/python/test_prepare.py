"""The Python side of a prepared model: structure, state, copies, exceptions."""

import copy
import gc
import weakref

import pytest
import qat_ext as qat
import torch
from torch import nn


class Net(nn.Module):
    """Two inputs, a dict as output, and a forward that can be told to fail."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.last = nn.Linear(6, 3)
        self.failure = None

    def forward(self, x, gate, *, double=False):
        if self.failure is not None:
            raise self.failure
        logits = self.last(torch.relu(self.norm(self.first(x))) * gate)
        return {"logits": logits * 2 if double else logits, "note": "kept"}


def example(rows=4):
    return {"x": torch.randn(rows, 4), "gate": torch.rand(rows, 6)}


def small():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def calibrated(model=None):
    model = small() if model is None else model
    qmodel = qat.prepare(model, torch.randn(4, 4))
    with qat.calibrate(qmodel):
        qmodel(torch.randn(16, 4))
    return qmodel


def test_arguments_and_result_keep_their_structure():
    model = Net()
    qmodel = qat.prepare(model, example())
    inputs = example(5)
    result = qmodel(inputs["x"], gate=inputs["gate"])
    assert list(result) == ["logits", "note"]
    assert result["note"] == "kept"
    assert result["logits"].shape == (5, 3)


def test_parameters_are_the_users_own():
    model = small()
    qmodel = qat.prepare(model, torch.randn(4, 4))
    assert qmodel.model is model
    names = dict(qmodel.named_parameters())
    for name, parameter in model.named_parameters():
        assert names[f"model.{name}"] is parameter
    qmodel(torch.randn(4, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_prepare_restores_modes_buffers_and_random_state():
    model = Net()
    model.norm.eval()
    before = copy.deepcopy(model.state_dict())
    inputs = example()
    state = torch.get_rng_state()
    qmodel = qat.prepare(model, inputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.norm.training
    assert qmodel.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_train_and_eval_reach_the_model():
    qmodel = qat.prepare(small(), torch.randn(4, 4))
    assert not qmodel.eval().model.training
    assert qmodel.train().model.training


def test_phases():
    qmodel = qat.prepare(small(), torch.randn(4, 4))
    with qat.calibrate(qmodel):
        assert qmodel.phase == "calibrate"
        qmodel(torch.randn(4, 4))
    assert qmodel.phase == "qat"
    with pytest.raises(KeyError), qat.calibrate(qmodel):
        raise KeyError
    assert qmodel.phase == "qat"
    qmodel.phase = "floating"
    assert qmodel.phase == "floating"
    with pytest.raises(qat.Error, match="phase: expected one of floating, calibrate, qat, got 'x'"):
        qmodel.phase = "x"


def test_state_dict_goes_into_a_fresh_module():
    source = calibrated()
    target = qat.prepare(small(), torch.randn(4, 4))
    for assign in (False, True):
        state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
        target.load_state_dict(state, strict=True, assign=assign)
        assert target.phase == source.phase
        x = torch.randn(7, 4)
        assert torch.equal(source.eval()(x), target.eval()(x))


def test_state_dict_holds_the_latest_observation():
    qmodel = qat.prepare(small(), torch.randn(4, 4))
    counts = []
    for _ in range(2):
        with qat.calibrate(qmodel):
            qmodel(torch.randn(16, 4))
        state = qmodel.state_dict()
        counts.append([state[name].item() for name in state if name.endswith(".count")])
    assert counts[0]
    assert counts[1] == [count + 1 for count in counts[0]]


def test_loading_replaces_what_was_observed():
    source, target = calibrated(), calibrated()
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    target.train()(1000 * torch.randn(16, 4))
    target.load_state_dict(state)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_state_is_the_engines_own_after_moving_and_casting():
    qmodel = calibrated()
    before = [t.data_ptr() for t in qmodel.quantizers.buffers()]
    qmodel.to(torch.float64).to("cpu").float()
    assert [t.data_ptr() for t in qmodel.quantizers.buffers()] == before


def test_deepcopy_is_independent():
    qmodel = calibrated()
    twin = copy.deepcopy(qmodel)
    x = torch.randn(5, 4)
    assert torch.equal(qmodel.eval()(x), twin.eval()(x))
    before = {name: tensor.clone() for name, tensor in qmodel.state_dict().items()}
    twin.train()(100 * torch.randn(5, 4)).sum().backward()
    qat.step(twin, 1.0)
    with torch.no_grad():
        twin.model[0].weight.zero_()
    for name, tensor in qmodel.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert qmodel.model[0].weight.grad is None


def test_deepcopy_inside_a_larger_object_keeps_sharing():
    qmodel = calibrated()
    pair = copy.deepcopy({"a": qmodel, "b": qmodel, "weight": qmodel.model[0].weight})
    assert pair["a"] is pair["b"]
    assert pair["a"].model[0].weight is pair["weight"]


class Boom(Exception):
    pass


def test_exceptions_of_the_forward_arrive_unchanged():
    model = Net()
    qmodel = qat.prepare(model, example())
    model.failure = Boom("once", 2)
    with pytest.raises(Boom) as caught:
        qmodel(**example())
    assert caught.value is model.failure
    model.failure = None
    assert qmodel(**example())["logits"].shape == (4, 3)  # and the module still works


def test_exception_while_preparing_arrives_unchanged():
    model = Net()
    model.failure = Boom()
    with pytest.raises(Boom):
        qat.prepare(model, example())


def test_torch_errors_keep_their_type_and_lose_the_backtrace():
    model = nn.Sequential(nn.Linear(4, 4), nn.CosineSimilarity(1))
    model.forward = lambda x: model[0](x) + torch.embedding(x, x)
    with pytest.raises(RuntimeError, match="Expected tensor for argument #1 'indices'") as caught:
        qat.prepare(model, torch.randn(4, 4))
    assert type(caught.value) is RuntimeError
    assert "frame #" not in str(caught.value)


def test_model_is_freed_with_its_prepared_module():
    model = small()
    reference = weakref.ref(model)
    qmodel = qat.prepare(model, torch.randn(4, 4))
    qmodel(torch.randn(4, 4)).sum().backward()
    del model, qmodel
    gc.collect()
    assert reference() is None


def test_transformers_output():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        vocab_size=30, max_position_embeddings=16, num_labels=3,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    ids = torch.randint(0, 30, (2, 8))
    qmodel = qat.prepare(model, {"input_ids": ids})
    result = qmodel(input_ids=ids, output_hidden_states=True)
    assert type(result).__name__ == "SequenceClassifierOutput"
    assert result.logits.shape == (2, 3)
    assert [state.shape for state in result.hidden_states] == 2 * [(2, 8, 16)]


class Branch(nn.Module):
    """Decides by its data."""

    def __init__(self):
        super().__init__()
        self.first, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.first(x) if x.detach().sum() > 0 else self.other(x)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "prepare: example_inputs: expected at least one example, got an empty list"),
        ((), "prepare: example_inputs: expected at least one tensor, got none"),
        (3, r"prepare: example_inputs\[0\]: expected a tensor, a tuple of arguments or a dict"),
        (
            [torch.ones(2, 4), -torch.ones(2, 4)],
            r"prepare: example 1 takes another path through the model than example 0: it comes to "
            r"'other' \(linear\) where that comes to 'first' \(linear\)\. A prepared model holds "
            r"one path only: compute both ways and select with torch.where",
        ),
    ],
)
def test_example_errors(inputs, message):
    with pytest.raises(qat.Error, match=message):
        qat.prepare(Branch(), inputs)


def test_ambiguous_examples():
    other = {"x": torch.randn(4, 4), "mask": torch.rand(4, 6)}
    with pytest.raises(qat.Error, match=r"the same number of tensors \(2\) under different"):
        qat.prepare(Net(), [example(), other])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("int7", "int8"),  # the message lists the names
        (3, "recipe: expected a name, the path of a YAML file or a dict, got int"),
        ({"weights": {"bits": 9}}, "recipe.weights.bits: expected an integer from 2 to 8, got 9"),
        ({"weights": object()}, "recipe: expected strings, finite numbers, booleans"),
    ],
)
def test_recipe_errors(recipe, message):
    with pytest.raises(qat.Error, match=message):
        qat.prepare(small(), torch.randn(4, 4), recipe)


@pytest.mark.skipif(not qat._build_info.has_driver, reason="built with QAT_DRIVER=OFF")
def test_recipe_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("weights: {bits: 4}\n")
    qmodel = qat.prepare(small(), torch.randn(4, 4), file)
    assert '"bits":4' in qmodel._core.recipe().replace(" ", "")
    file.write_text("weights: {bits: 4, bit: 3}\n")
    with pytest.raises(qat.Error, match=r"recipe.yaml:1:\d+: error: .*'bit'"):
        qat.prepare(small(), torch.randn(4, 4), file)


def test_functions_name_a_model_that_is_not_prepared():
    for name, call in (
        ("plan", qat.plan),
        ("convert", qat.convert),
        ("step", lambda model: qat.step(model, 1.0)),
        ("verify", lambda model: qat.verify(model, None, [])),
    ):
        with pytest.raises(qat.Error, match=f"{name}: expected a model made by prepare"):
            call(small())


def test_pickling_is_refused():
    with pytest.raises(qat.Error, match=r"cannot be pickled; save state_dict\(\)"):
        torch.save(calibrated(), "/dev/null")
