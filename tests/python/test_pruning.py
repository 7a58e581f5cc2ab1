"""recipe.prune: which weights are held at zero and when, also in the integer model."""

import math

import numpy as np
import pytest
import qat_ext as qat
import torch
from oracle import load, run
from qat_ext import Error
from torch import nn

X = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))
Y = torch.randint(0, 4, (8,), generator=torch.Generator().manual_seed(4))
STEPS = 8


class Block(nn.Module):
    """A stem, a residual block with batch norm, a depthwise convolution and a linear head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.hidden = nn.Linear(8 * 16, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(y)))
        x = nn.functional.max_pool2d(self.depthwise(x), 2)
        return self.head(nn.functional.gelu(self.hidden(x.flatten(1))))


def prepared(recipe, model=None):
    torch.manual_seed(1)
    return qat.prepare(model or Block(), X, recipe=recipe)


def train(qmodel, steps=STEPS, first=0, after=lambda step: None):
    qmodel.train()
    learned = [p for p in qmodel.parameters()]
    optimizer = torch.optim.SGD(learned, 0.05)
    for step in range(first, steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(qmodel(X), Y).backward()
        optimizer.step()
        qat.step(qmodel, (step + 1) / STEPS)
        after(step)
    return qmodel.eval()


def masks(qmodel):
    state = qmodel.quantizers.state_dict()
    return {k.removesuffix(".weight.mask"): v for k, v in state.items() if k.endswith(".mask")}


def zeros(mask):
    return int((mask == 0).sum())


def assert_equal_to_the_bit(qmodel):
    integer = qat.convert(qmodel)
    report = qat.verify(qmodel, integer, [X, X[:3] * 2])
    assert report.equal, report
    return integer


def tensors_of(integer, tmp_path):
    path = tmp_path / "model.safetensors"
    integer.save(path)
    model = load(path)
    expected = integer(X)
    (got,) = run(model, [X.numpy()])
    assert np.array_equal(got, expected.numpy()), "the oracle agrees"
    return model, {
        node.name: model.weights[i] for i, node in enumerate(model.nodes) if i in model.weights
    }


def test_magnitude_takes_the_smallest_and_follows_the_cubic_schedule(tmp_path):
    recipe = {"prune": {"method": "magnitude", "sparsity": 0.75, "start": 0.25, "end": 0.75}}
    qmodel = prepared(recipe)
    # The first layer reads 3 channels and the depthwise convolution 1; they stay dense.
    assert set(masks(qmodel)) == {"conv1", "conv2", "hidden", "head"}
    assert all(zeros(m) == 0 and m.dtype == torch.uint8 for m in masks(qmodel).values())
    counts = []
    before = {}

    def after(step):
        before[step + 1] = qmodel.model.conv1.weight.detach().clone()
        counts.append(zeros(masks(qmodel)["conv1"]))

    train(qmodel, after=after)
    n = qmodel.model.conv1.weight.numel()
    expected = []
    for step in range(STEPS):
        # A mask is chosen by the forward of a step, for the fraction that the last step() named.
        t = min(max((step / STEPS - 0.25) / 0.5, 0.0), 1.0)
        expected.append(math.floor(0.75 * (1 - (1 - t) ** 3) * n + 0.5))
    assert counts == expected
    assert counts[-1] == round(0.75 * n)
    # The last choice is that of the forward in which the sparsity was reached.
    step = counts.index(counts[-1])
    kept = masks(qmodel)["conv1"] == 1
    size = before[step].abs()
    assert size[kept].min() >= size[~kept].max()
    integer = assert_equal_to_the_bit(qmodel)
    _, weights = tensors_of(integer, tmp_path)
    assert not weights["conv1"][~kept.numpy()].any()
    assert np.mean(weights["conv1"] == 0) < 0.8


def test_the_gradient_of_a_weight_at_zero_is_zero():
    qmodel = prepared({"prune": {"method": "magnitude", "end": 0.0}})
    qmodel.train()
    nn.functional.cross_entropy(qmodel(X), Y).backward()
    for name, mask in masks(qmodel).items():
        grad = qmodel.model.get_submodule(name).weight.grad
        assert zeros(mask) == round(mask.numel() / 2)
        assert not grad[mask == 0].any()
        assert grad[mask == 1].any()


def test_two_of_four_input_channels(tmp_path):
    qmodel = train(prepared({"prune": {"method": "2:4", "end": 0.5}}))
    for name, mask in masks(qmodel).items():
        groups = mask.unflatten(1, (-1, 4))
        assert torch.equal(groups.sum(2), torch.full_like(groups.sum(2), 2)), name
    _, weights = tensors_of(assert_equal_to_the_bit(qmodel), tmp_path)
    groups = weights["conv1"].reshape(16, 2, 4, 3, 3)
    assert ((groups != 0).sum(axis=2) <= 2).all()


def test_two_of_four_keeps_the_two_largest():
    model = nn.Sequential(nn.Linear(8, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.1, -3.0, 2.0, 0.2, 1.0, 1.0, 1.0, -1.0]]))
    qmodel = qat.prepare(model, torch.randn(4, 8), recipe={"prune": {"method": "2:4"}})
    qmodel.train()(torch.randn(4, 8))
    assert qmodel.quantizers.state_dict()["0.weight.mask"].tolist() == [[0, 1, 1, 0, 0, 0, 1, 1]]


def test_masks_stand_still_after_the_end_and_in_eval():
    qmodel = prepared({"prune": {"method": "2:4", "end": 0.5}})
    train(qmodel, steps=STEPS // 2 + 1)
    held = {k: v.clone() for k, v in masks(qmodel).items()}
    qmodel(X)
    train(qmodel, first=STEPS // 2 + 1)
    assert all(torch.equal(v, held[k]) for k, v in masks(qmodel).items())
    late = prepared({"prune": {"method": "magnitude", "end": 0.0}})
    with qat.calibrate(late):
        late(X)
    late.eval()(X)
    assert all(zeros(v) == 0 for v in masks(late).values())


def test_channels_are_removed(tmp_path):
    qmodel = train(prepared({"prune": {"method": "channel", "sparsity": 0.5}}))
    # conv2 ends in an addition, the stem feeds two readers, the depthwise layer is grouped.
    assert set(masks(qmodel)) == {"conv1", "hidden"}
    dead = masks(qmodel)["conv1"].flatten(1).sum(1) == 0
    assert int(dead.sum()) == 8
    assert (qmodel.model.bn1.bias[dead] != 0).any(), "the parameters keep their values"
    integer = assert_equal_to_the_bit(qmodel)
    model, weights = tensors_of(integer, tmp_path)
    assert weights["conv1"].shape == (8, 8, 3, 3)
    assert weights["conv2"].shape == (8, 8, 3, 3)
    assert weights["hidden"].shape == (6, 128)
    assert weights["head"].shape == (4, 6)
    assert weights["stem"].shape == (8, 3, 3, 3)
    assert integer.integer_fraction() == 1.0
    dense = train(prepared({}))
    other = tmp_path / "dense.safetensors"
    qat.convert(dense).save(other)
    assert (tmp_path / "model.safetensors").stat().st_size < other.stat().st_size - 8 * 72 * 2


def test_channel_pruning_takes_the_smallest_norms():
    qmodel = prepared({"prune": {"method": "channel", "sparsity": 0.25, "end": 0.0}})
    with torch.no_grad():
        for channel in range(16):
            qmodel.model.conv1.weight[channel] = 0.01 * (1 + (channel * 5) % 16)
    qmodel.train()(X)
    dead = masks(qmodel)["conv1"].flatten(1).sum(1) == 0
    assert dead.nonzero().flatten().tolist() == [c for c in range(16) if (c * 5) % 16 < 4]


def test_a_channel_that_is_gone_gives_zero_codes():
    qmodel = train(prepared({"prune": {"method": "channel"}}))
    dead = masks(qmodel)["conv1"].flatten(1).sum(1) == 0
    with qat.taps(qmodel, ["relu_1"]) as values:
        qmodel(X)
    assert not values["relu_1"][:, dead].any()


@pytest.mark.parametrize("method", ["magnitude", "2:4", "channel"])
@pytest.mark.parametrize("weights", ["absmax", "mse", "lsq", "tqt", "ternary"])
def test_every_method_stays_equal_to_the_bit(method, weights):
    bits = 2 if weights == "ternary" else 4
    recipe = {"prune": {"method": method}, "weights": {"method": weights, "bits": bits}}
    assert_equal_to_the_bit(train(prepared(recipe)))


def test_with_stochastic_rounding_a_zero_stays_zero():
    recipe = {"prune": {"method": "magnitude", "end": 0.0}, "weights": {"rounding": "stochastic"}}
    assert_equal_to_the_bit(train(prepared(recipe)))


def test_a_rule_excludes_and_includes():
    rules = [{"sites": "conv?", "prune": False}, {"sites": "stem", "prune": True}]
    qmodel = prepared({"prune": {"method": "magnitude"}, "rules": rules})
    assert set(masks(qmodel)) == {"stem", "hidden", "head"}


@pytest.mark.parametrize("method", ["magnitude", "2:4", "channel"])
def test_a_resumed_run_is_the_run_that_was_never_stopped(method):
    recipe = {"prune": {"method": method, "start": 0.1, "end": 0.9}, "freeze": {"ranges": 1.0}}
    whole = train(prepared(recipe))
    first = train(prepared(recipe), steps=3)
    second = prepared(recipe)
    second.load_state_dict(first.state_dict())
    train(second, first=3)
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_step_after_loading_changes_nothing():
    recipe = {"prune": {"method": "magnitude", "start": 0.0, "end": 1.0}}
    trained = train(prepared(recipe), steps=4)
    loaded = prepared(recipe)
    loaded.load_state_dict(trained.state_dict())
    qat.step(loaded, 1.0)
    loaded.eval()
    assert torch.equal(loaded(X), trained(X))


PRUNE = {"method": "magnitude"}
REFUSED = [
    ({"prune": {**PRUNE, "start": 0.5, "end": 0.25}},
     "recipe.prune.end: expected at least prune.start, 0.500000, got 0.25"),
    ({"prune": {"sparsity": 0.75}},
     "recipe.prune: its other keys have no effect without a method; set prune.method to magnitude, "
     "2:4 or channel, or leave them out"),
    ({"prune": {"method": "2:4", "sparsity": 0.25}},
     "recipe.prune.sparsity: 2:4 keeps two of four weights; expected 0.5, got 0.25"),
    ({"prune": PRUNE, "weights": {"method": "binary", "bits": 2}},
     "recipe.weights: method binary has no code for 0 and cannot go with recipe.prune; exclude "
     "the sites by a rule with prune: false, or take another method"),
    ({"prune": PRUNE, "rules": [{"sites": "conv1", "weight_method": "dorefa", "weight_bits": 4}]},
     "recipe.rules[0]: method dorefa has no code for 0"),
    ({"rules": [{"sites": "conv1", "prune": True}]},
     "recipe.rules[0].prune: true needs recipe.prune.method, got none"),
    ({"prune": {"method": "2:4"}, "rules": [{"sites": "stem", "prune": True}]},
     "prepare: 'stem': prune: true: 2:4 takes groups of four input channels, and an output "
     "channel reads 3"),
    ({"prune": {"method": "channel"}, "rules": [{"sites": "conv2", "prune": True}]},
     "prepare: 'conv2': prune: true: its channels cannot be removed, for 'add' mixes its channels "
     "or takes 0 to another value"),
    ({"prune": {"method": "channel"}, "rules": [{"sites": "stem", "prune": True}]},
     "prepare: 'stem': prune: true: its channels cannot be removed, for its channels have more "
     "than one reader, or are an output"),
]  # fmt: skip


@pytest.mark.parametrize("recipe, message", REFUSED)
def test_what_is_refused(recipe, message):
    with pytest.raises(Error) as error:
        prepared(recipe)
    assert message in str(error.value)


def test_a_rule_mends_the_combination():
    rule = {"sites": "conv1", "weight_method": "dorefa", "weight_bits": 4, "prune": False}
    qmodel = train(prepared({"prune": PRUNE, "rules": [rule]}))
    assert "conv1" not in masks(qmodel)
    assert_equal_to_the_bit(qmodel)
