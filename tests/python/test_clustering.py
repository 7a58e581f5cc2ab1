"""recipe.cluster: a layer with a few distinct weights, from k-means to the codebook in the file."""

import numpy as np
import pytest
import qat_ext as qat
import torch
from oracle import load, run
from qat_ext import Error
from torch import nn

X = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(3))
Y = torch.randint(0, 4, (8,), generator=torch.Generator().manual_seed(4))
VALUES = 16


def recipe(values=VALUES, **more):
    weights = {"granularity": "tensor", **more.pop("weights", {})}
    return {"cluster": {"values": values}, "weights": weights, **more}


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 2, stride=2, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def prepared(chosen, model=None):
    return qat.prepare(model or network(), X, recipe=chosen)


def train(qmodel, steps=6, first=0):
    qmodel.train()
    optimizer = torch.optim.SGD(list(qmodel.parameters()), 0.02)
    for step in range(first, steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(qmodel(X), Y).backward()
        optimizer.step()
        qat.step(qmodel, (step + 1) / 6)
    return qmodel.eval()


def state(qmodel, name):
    return qmodel.quantizers.state_dict()[name]


def assert_equal_to_the_bit(qmodel):
    integer = qat.convert(qmodel)
    report = qat.verify(qmodel, integer, [X, X[:3] * 2])
    assert report.equal, report
    return integer


def saved(integer, path):
    integer.save(path)
    model = load(path)
    (got,) = run(model, [X.numpy()])
    assert np.array_equal(got, integer(X).numpy()), "the oracle agrees"
    names = [node.name for node in model.nodes]
    return {names[i]: weight for i, weight in model.weights.items()}, model


def lloyd(values, count, with_zero=False):
    """k-means written from docs/methods.md, in double precision with plain loops."""
    values = [float(v) for v in values if not (with_zero and v == 0)]
    moving = count - with_zero
    low, high = min(values), max(values)
    centroids = [low + (high - low) * (k / (moving - 1)) for k in range(moving)]
    centroids = sorted(centroids + [0.0] * with_zero)
    fixed = centroids.index(0.0) if with_zero else None

    def nearest(v):
        k = 0
        while k + 1 < count and v > (centroids[k] + centroids[k + 1]) / 2:
            k += 1
        return k

    for _ in range(300):
        members = [[] for _ in centroids]
        for v in values:
            members[nearest(v)].append(v)
        moved = [
            sum(m) / len(m) if m and k != fixed else centroids[k] for k, m in enumerate(members)
        ]
        # The order of the sums differs from the library's; 1e-12 is far below float32.
        if max(abs(a - b) for a, b in zip(moved, centroids, strict=True)) < 1e-12:
            break
        centroids = moved
    return centroids


def test_centroids_are_those_of_k_means():
    qmodel = prepared(recipe())
    qmodel.train()(X)
    weight = qmodel.model[0].weight.detach().flatten()
    expected = lloyd(weight.tolist(), VALUES)
    centroids = state(qmodel, "0.weight.centroids")
    # Both are float32 of double sums over at most 576 numbers below 1: one unit in the last place.
    assert np.allclose(centroids.numpy(), expected, rtol=2**-23, atol=1e-9)
    index = state(qmodel, "0.weight.assignment")
    assert index.dtype == torch.uint8 and index.shape == network()[0].weight.shape
    # No centroid is nearer than the one of the assignment.
    distance = (weight[:, None] - centroids[None]).abs()
    own = distance.gather(1, index.flatten().long()[:, None])[:, 0]
    assert torch.equal(own, distance.min(1).values)


def test_a_layer_has_as_many_codes_as_values(tmp_path):
    qmodel = train(prepared(recipe()))
    integer = assert_equal_to_the_bit(qmodel)
    weights, model = saved(integer, tmp_path / "shared.safetensors")
    assert all(len(np.unique(w)) <= VALUES for w in weights.values())
    assert len(np.unique(weights["0"])) > VALUES // 2
    # Every code is rule 2 of its centroid, with the scale of rule 5.
    centroids = state(qmodel, "0.weight.centroids").numpy()
    scale = np.float32(np.abs(centroids).max()) / np.float32(127)
    codes = np.rint(centroids * (np.float32(1) / scale)).astype(int)
    index = state(qmodel, "0.weight.assignment").numpy()
    assert np.array_equal(codes[index], weights["0"])
    stored = model.tensors["0.weight"]
    assert stored.dtype == np.uint8 and stored.size == 16 * 4 * 9 * 4 // 8
    plain = tmp_path / "plain.safetensors"
    qat.convert(train(prepared({"weights": {"granularity": "tensor"}}))).save(plain)
    saving = sum(w.size - w.size // 2 - VALUES for n, w in weights.items() if n == "0")
    shared_size = (tmp_path / "shared.safetensors").stat().st_size
    assert shared_size < plain.stat().st_size - saving + 128
    assert torch.equal(qat.load(tmp_path / "shared.safetensors")(X), integer(X))


def test_the_gradient_of_a_centroid_is_the_mean_of_its_members():
    qmodel = prepared(recipe())
    qmodel.train()
    with torch.no_grad():
        qmodel(X)
    index = state(qmodel, "0.weight.assignment").long()
    dense = prepared({"weights": {"granularity": "tensor"}})
    centroids = dict(qmodel.quantizers.named_parameters())["0.weight.centroids"]
    with torch.no_grad():
        for layer in (0, 3, 7):
            table = state(qmodel, f"{layer}.weight.centroids")
            own = state(qmodel, f"{layer}.weight.assignment").long()
            dense.model[layer].weight.copy_(table[own])
    # The dense model has the same scales and codes, and its weights get the gradients one by one.
    for twin in (qmodel, dense):
        twin.train().zero_grad()
        nn.functional.cross_entropy(twin(X), Y).backward()
    single = dense.model[0].weight.grad.double()
    expected = torch.zeros(VALUES, dtype=torch.double).index_add_(
        0, index.flatten(), single.flatten()
    )
    expected /= torch.bincount(index.flatten(), minlength=VALUES).clamp_min(1)
    # The library computes in binary64 as well and rounds to float32 once.
    assert torch.allclose(centroids.grad.double(), expected, rtol=2**-23, atol=1e-12)
    assert not qmodel.model[0].weight.grad.any(), "the float weight is out of use"


def test_the_gradient_of_a_centroid_by_hand():
    # The gradient of a linear layer's weight is its input.
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0], [3.0, 3.0, 0.0, 0.0]])
    qmodel = qat.prepare(model, x, recipe=recipe(2))
    qmodel.train()(x).sum().backward()
    (centroids,) = qmodel.quantizers.parameters()
    assert centroids.tolist() == [-1.0, 1.0]
    # The range is 0 to 3; codes of 0, 1, 2 and 3 are exact multiples of 3/255.
    assert torch.allclose(centroids.grad, torch.tensor([2.5, 3.5]), rtol=2**-20)


def test_centroids_learn_and_assignments_stay():
    qmodel = prepared(recipe())
    qmodel.train()(X)
    before = {k: v.clone() for k, v in qmodel.quantizers.state_dict().items()}
    train(qmodel)
    after = qmodel.quantizers.state_dict()
    assert torch.equal(before["0.weight.assignment"], after["0.weight.assignment"])
    assert not torch.equal(before["0.weight.centroids"], after["0.weight.centroids"])


@pytest.mark.parametrize("method", ["magnitude", "2:4"])
def test_with_pruning_zero_stays_zero(method, tmp_path):
    qmodel = train(prepared(recipe(8, prune={"method": method, "end": 0.5})))
    integer = assert_equal_to_the_bit(qmodel)
    weights, _ = saved(integer, tmp_path / "model.safetensors")
    mask = state(qmodel, "0.weight.mask").numpy()
    assert (mask == 0).sum() == mask.size // 2
    assert not weights["0"][mask == 0].any()
    assert len(np.unique(weights["0"])) <= 8
    index = state(qmodel, "0.weight.assignment").numpy()
    assert not weights["0"][index == 0].any(), "the first value is the zero"
    assert weights["0"][(index != 0) & (mask == 1)].any()


def test_zero_is_fixed_among_the_centroids():
    qmodel = prepared(recipe(8, prune={"method": "2:4"}))
    weight = network()[0].weight.detach()
    groups = weight.abs().unflatten(1, (-1, 4))
    rank = groups.argsort(dim=2, stable=True).argsort(dim=2, stable=True)
    kept = weight[(rank >= 2).flatten(1, 2)]
    qmodel.train()(X)
    centroids = state(qmodel, "0.weight.centroids").numpy()
    assert centroids[0] == 0
    assert np.allclose(sorted(centroids), lloyd(kept.tolist(), 8, True), rtol=2**-23, atol=1e-9)


@pytest.mark.parametrize("values, bits", [(2, 8), (4, 4), (8, 4), (2, 2), (128, 8)])
def test_sizes_and_bits(values, bits, tmp_path):
    qmodel = train(prepared(recipe(values, weights={"bits": bits})))
    weights, _ = saved(assert_equal_to_the_bit(qmodel), tmp_path / "model.safetensors")
    assert all(len(np.unique(w)) <= values for w in weights.values())


@pytest.mark.parametrize("bits", range(2, 9))
def test_weights_take_exactly_their_bits(bits, tmp_path):
    qmodel = train(prepared({"weights": {"bits": bits}}), steps=2)
    _, model = saved(qat.convert(qmodel), tmp_path / "model.safetensors")
    assert model.tensors["0.weight"].nbytes == (16 * 4 * 9 * bits + 7) // 8


def test_a_small_layer_is_left_alone_and_a_rule_excludes():
    # The linear layer has 128 weights.
    qmodel = prepared(recipe(128, rules=[{"sites": "0", "cluster": False}]))
    clustered = {k for k in qmodel.quantizers.state_dict() if k.endswith("centroids")}
    assert clustered == {"3.weight.centroids"}


def test_a_resumed_run_is_the_run_that_was_never_stopped():
    whole = train(prepared(recipe()))
    first = train(prepared(recipe()), steps=3)
    second = prepared(recipe())
    second.load_state_dict(first.state_dict())
    train(second, first=3)
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


REFUSED = [
    (recipe(12), "recipe.cluster.values: expected a power of two from 2 to 128, or 0, got 12"),
    ({"cluster": {"values": 16}},
     "recipe.weights: granularity channel cannot go with recipe.cluster: one codebook for a layer "
     "needs one scale; set granularity: tensor"),
    (recipe(weights={"method": "lsq"}),
     "recipe.weights: method lsq cannot go with recipe.cluster, whose centroids are learned; "
     "exclude the sites by a rule with cluster: false, or take method absmax"),
    (recipe(rules=[{"sites": "0", "weight_method": "ternary", "weight_bits": 2}]),
     "recipe.rules[0]: method ternary cannot go with recipe.cluster"),
    (recipe(weights={"rounding": "stochastic"}),
     "recipe.weights: random rounding cannot go with recipe.cluster"),
    (recipe(16, weights={"bits": 4}),
     "recipe.cluster.values: expected at most 8, half of the codes of 4 bits, got 16"),
    (recipe(256), "recipe.cluster.values: expected an integer from 0 to 128, got 256"),
    (recipe(oscillation={"freeze": 0.1}),
     "recipe.oscillation: holds single weights and cannot go with recipe.cluster"),
    ({"rules": [{"sites": "0", "cluster": True}]},
     "recipe.rules[0].cluster: true needs recipe.cluster.values, got 0"),
]  # fmt: skip


@pytest.mark.parametrize("chosen, message", REFUSED)
def test_what_is_refused(chosen, message):
    with pytest.raises(Error) as error:
        prepared(chosen)
    assert message in str(error.value)
