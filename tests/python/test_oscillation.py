"""recipe.oscillation: damping and freezing against the formulas, in double precision."""

import copy
import math

import pytest
import qat_ext as qat
import torch
from torch import nn

BITS, LARGEST = 4, 7  # signed codes of 4 bits: -8 to 7
MOMENTUM = 0.25


def freezing(threshold, **weights):
    return {
        "weights": {"bits": BITS, **weights},
        "oscillation": {"freeze": threshold, "momentum": MOMENTUM},
    }


def layer(recipe, codes):
    """A linear layer of one channel whose weights are given in steps of 0.1, the scale."""
    model = nn.Sequential(nn.Linear(len(codes), 1, bias=False))
    qmodel = qat.prepare(model, torch.eye(len(codes)), recipe).train()
    put(qmodel, codes)
    return qmodel


def put(qmodel, codes):
    with torch.no_grad():
        qmodel.model[0].weight.copy_(torch.tensor([codes]) * 0.1)


def state(qmodel):
    return qmodel.quantizers.get_submodule("0.weight")


def message(function, *arguments):
    with pytest.raises(qat.Error) as error:
        function(*arguments)
    return str(error.value)


# The first weight fixes the scale at 0.1. Then: two codes in turns, up alone, three codes in turns,
# at rest, down and back once.
COURSE = [
    [
        7.0,
        2.4 + 0.2 * (t % 2),
        min(6.0, float(t)),
        [2.0, 3.0, 4.0, 3.0][t % 4],
        -3.2,
        -5.0 - (t == 3),
    ]
    for t in range(14)
]


def reference(course, threshold):
    """Section 4.3 of Nagel et al. 2022 for each weight, in double precision."""
    frequency = [0.0] * len(course[0])
    direction = [0] * len(course[0])
    mean, last, frozen = [], [], [None] * len(course[0])
    for values in course:
        codes = [max(-8, min(LARGEST, round(value))) for value in values]
        if not last:
            mean, last = [float(code) for code in codes], codes
        for i, code in enumerate(codes):
            sign = (code > last[i]) - (code < last[i])
            oscillates = sign * direction[i] < 0
            frequency[i] = MOMENTUM * oscillates + (1 - MOMENTUM) * frequency[i]
            mean[i] = MOMENTUM * code + (1 - MOMENTUM) * mean[i]
            direction[i] = sign or direction[i]
            if frozen[i] is None and frequency[i] > threshold:
                frozen[i] = round(mean[i])
        last = codes
    return frequency, mean, frozen


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.6, 1.0])
def test_the_state_is_the_papers(threshold):
    qmodel = layer(freezing(threshold), COURSE[0])
    for codes in COURSE:
        put(qmodel, codes)
        qmodel(torch.eye(6))
    frequency, mean, frozen = reference(COURSE, threshold)
    ours = state(qmodel)
    # float32 with two roundings a forward: 28 of 2^-24 of a value below 8.
    torch.testing.assert_close(ours.oscillation[0].double(), torch.tensor(frequency).double(),
                               rtol=0, atol=28 * 2.0**-24)  # fmt: skip
    torch.testing.assert_close(ours.mean_code[0].double(), torch.tensor(mean).double(),
                               rtol=0, atol=28 * 8 * 2.0**-24)  # fmt: skip
    assert [None if c == -128 else c for c in ours.frozen_code[0].tolist()] == frozen
    assert (threshold == 1.0) == (frozen == [None] * 6)


def frozen_layer():
    """Weight 1 has jumped until it was frozen; weight 0 keeps the scale."""
    qmodel = layer(freezing(0.3), [7.0, 2.4, 3.0])
    for t in range(8):
        put(qmodel, [7.0, 2.4 + 0.2 * (t % 2), 3.0])
        qmodel(torch.eye(3))
    frozen = state(qmodel).frozen_code[0].tolist()
    assert frozen[0] == frozen[2] == -128 and frozen[1] in (2, 3)
    return qmodel, frozen[1]


def test_a_frozen_code_is_used_in_training_in_eval_and_in_the_integer_model():
    qmodel, code = frozen_layer()
    put(qmodel, [7.0, -5.0, 3.0])
    expected = [[0.7], [code * 0.1], [0.3]]
    for training in (True, False):
        ours = qmodel.train(training)(torch.eye(3))
        # Inputs of 8 bits between 0 and 1: each step within half a percent.
        torch.testing.assert_close(ours, torch.tensor(expected), rtol=0.005, atol=0.005)
    int8 = qat.convert(qmodel)
    report = qat.verify(qmodel, int8, [torch.eye(3), torch.rand(5, 3)])
    assert report.equal, report
    torch.testing.assert_close(int8(torch.eye(3)), qmodel(torch.eye(3)), rtol=0, atol=0)


def test_a_scale_that_moves_does_not_change_a_frozen_code():
    qmodel, code = frozen_layer()
    put(qmodel, [14.0, 2.4, 3.0])
    result = qmodel.eval()(torch.eye(3))
    torch.testing.assert_close(result[1, 0].item(), code * 0.2, rtol=0.005, atol=0.005)


def test_a_frozen_weight_gets_no_gradient():
    qmodel, _ = frozen_layer()
    qmodel.zero_grad()
    qmodel(torch.ones(2, 3)).sum().backward()
    grad = qmodel.model[0].weight.grad[0].tolist()
    assert grad[1] == 0 and grad[0] != 0 and grad[2] != 0


def test_a_weight_that_is_zero_has_the_code_zero():
    qmodel, _ = frozen_layer()
    put(qmodel, [7.0, 0.0, 3.0])
    assert qmodel.eval()(torch.eye(3))[1, 0].item() == 0


def test_only_weights_that_have_moved_count():
    """Accumulated gradients, and eval(): the second forward on one weight changes nothing."""
    once, twice = (layer(freezing(0.9), COURSE[0]) for _ in range(2))
    for codes in COURSE:
        for qmodel in (once, twice):
            put(qmodel, codes)
            qmodel.train()(torch.eye(6))
        twice(torch.eye(6))
        twice.eval()(torch.eye(6))
    for name, tensor in state(once).state_dict().items():
        assert torch.equal(tensor, state(twice).state_dict()[name]), name


def test_counting_begins_with_the_last_bits():
    stages = {"schedule": {"stages": [{"until": 0.5, "weights": 8, "activations": 8}]}}
    qmodel = layer({**freezing(0.3), **stages}, COURSE[0])
    for codes in COURSE:
        put(qmodel, codes)
        qmodel(torch.eye(6))
    assert state(qmodel).last_code.eq(-128).all()
    qat.step(qmodel, 0.5)
    put(qmodel, COURSE[0])
    qmodel(torch.eye(6))
    assert state(qmodel).last_code[0].tolist() == [7, 2, 0, 2, -3, -5]


@pytest.mark.parametrize("method", ["absmax", "mse", "lsq", "tqt", "dorefa", "ternary"])
def test_a_resumed_training_ends_in_the_same_bits(method):
    bits = 2 if method == "ternary" else 3
    recipe = freezing(0.1, method=method)
    recipe["weights"]["bits"] = bits

    def model():
        torch.manual_seed(5)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))

    x = torch.randn(16, 3, 5, 5, generator=torch.Generator().manual_seed(2))

    def train(qmodel, first, last):
        optimizer = torch.optim.SGD(qmodel.parameters(), 0.05)  # no momentum: no state of its own
        for step in range(first, last):
            qat.step(qmodel.train(), step / 20)
            optimizer.zero_grad()
            qmodel(x).square().mean().backward()
            with torch.no_grad():  # what makes weights jump
                qmodel.model[0].weight.add_(0.05 * (-1) ** step)
            optimizer.step()

    whole = qat.prepare(model(), x, recipe)
    train(whole, 0, 20)
    half = qat.prepare(model(), x, recipe)
    train(half, 0, 11)
    resumed = qat.prepare(model(), x, recipe)
    resumed.load_state_dict(copy.deepcopy(half.state_dict()))
    train(resumed, 11, 20)
    ours, theirs = resumed.state_dict(), whole.state_dict()
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name
    frozen = theirs["quantizers.0.weight.frozen_code"] != -128
    assert frozen.any()
    report = qat.verify(whole, qat.convert(whole.eval()), [x])
    assert report.equal, report


# ---- damping


def transposed():
    return nn.ConvTranspose2d(4, 6, 2, groups=2), torch.randn(2, 4, 3, 3)


LAYERS = {
    "linear": lambda: (nn.Linear(5, 3), torch.randn(2, 5)),
    "conv": lambda: (nn.Conv2d(4, 6, 3, groups=2), torch.randn(2, 4, 5, 5)),
    "transposed": transposed,
}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("kind", LAYERS)
def test_damping_is_the_distance_to_the_codes(kind, granularity, bits):
    torch.manual_seed(2)
    made, x = LAYERS[kind]()
    model = nn.Sequential(made)
    recipe = {
        "weights": {"bits": bits, "granularity": granularity, "method": "lsq"},
        "oscillation": {"damping": 0.5},
    }
    qmodel = qat.prepare(model, x, recipe).train()
    qat.step(qmodel, 0.25)
    qmodel(x)
    loss = qat.oscillation_loss(qmodel)
    w = made.weight.detach().double()
    scale = state(qmodel).scale.detach().double()
    if granularity == "channel" and kind == "transposed":
        # Output channels are (group, column): [g * c] -> [in, c, 1, 1].
        scale = scale.view(2, 1, 3).expand(2, 2, 3).reshape(4, 3, 1, 1)
    elif granularity == "channel":
        scale = scale.view(-1, *[1] * (w.dim() - 1))
    low, high = (-127, 127) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    value = torch.round(w / scale).clamp(low, high) * scale
    clipped = torch.minimum(torch.maximum(w, scale * low), scale * high)
    factor = 0.5 * (1 - math.cos(math.pi * 0.25)) / 2
    expected = factor * (value - clipped).square().sum()
    # A difference of float32 numbers below 1 is off by 2^-23; its square, where it is half a scale
    # or less, by 2^-23 scales.
    bound = factor * w.numel() * (scale.max().item() * 2.0**-23 + 2.0**-40)
    assert loss.shape == () and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), abs=bound, rel=1e-5)
    loss.backward()
    inside = (w > scale * low) & (w < scale * high)
    gradient = factor * 2 * (clipped - value) * inside
    torch.testing.assert_close(made.weight.grad.double(), gradient, rtol=1e-4, atol=2.0**-21)
    assert state(qmodel).scale.grad is None


@pytest.mark.parametrize(("fraction", "share"), [(0, 0), (0.5, 0.5), (1, 1)])
def test_the_weight_of_damping_rises_as_a_cosine(fraction, share):
    qmodel = layer({"weights": {"bits": BITS}, "oscillation": {"damping": 2.0}}, [7.0, 2.6])
    qat.step(qmodel, fraction)
    qmodel(torch.eye(2))
    # The distance is 0.4 of a step of 0.1.
    assert qat.oscillation_loss(qmodel).item() == pytest.approx(2 * share * 0.04**2, rel=1e-5)


def test_a_weight_that_two_layers_share_counts_once():
    first = nn.Linear(3, 3, bias=False)
    second = nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    recipe = {"weights": {"bits": BITS}, "oscillation": {"damping": 1.0}}
    both = qat.prepare(nn.Sequential(first, nn.ReLU(), second), torch.rand(2, 3), recipe).train()
    alone = qat.prepare(nn.Sequential(copy.deepcopy(first)), torch.rand(2, 3), recipe).train()
    for qmodel in (both, alone):
        qat.step(qmodel, 1)
        qmodel(torch.rand(2, 3))
    assert qat.oscillation_loss(both) == qat.oscillation_loss(alone)


def test_damping_draws_weights_to_their_codes():
    recipe = {"weights": {"bits": BITS}, "oscillation": {"damping": 1.0}}
    qmodel = layer(recipe, [7.0, 2.6, -3.3])
    qat.step(qmodel, 1)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.1)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        qmodel(torch.eye(3))
        loss = qat.oscillation_loss(qmodel)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Each step leaves 1 - 2 * 0.1 of a distance: 0.64 of its square.
    assert losses[-1] == pytest.approx(losses[0] * 0.64**9, rel=1e-3)


def test_without_damping_the_loss_is_zero():
    qmodel = layer({}, [7.0, 2.6])
    assert qat.oscillation_loss(qmodel).item() == 0


# ---- messages

FREEZE = {"freeze": 0.1}
DAMP = {"damping": 0.1}
RANDOM = (
    "{}: random rounding cannot go with recipe.oscillation, which watches how codes change; set "
    "rounding: nearest and noise: 0"
)
PULLED = (
    "{}: method {} cannot go with recipe.oscillation.damping, which pulls a weight to a multiple "
    "of its scale; take absmax, mse, lsq or tqt, or set oscillation.freeze"
)
CLUSTER = (
    "recipe.oscillation: holds single weights and cannot go with recipe.cluster, which shares "
    "them; leave one of the two out"
)
WRONG = {
    "stochastic": (
        {"weights": {"rounding": "stochastic"}, "oscillation": FREEZE},
        RANDOM.format("recipe.weights"),
    ),
    "noise": (
        {"weights": {"bits": 4, "noise": 0.5}, "oscillation": DAMP},
        RANDOM.format("recipe.weights"),
    ),
    "dorefa": (
        {"weights": {"method": "dorefa"}, "oscillation": DAMP},
        PULLED.format("recipe.weights", "dorefa"),
    ),
    "rule": (
        {
            "rules": [{"sites": "0", "weight_bits": 2, "weight_method": "binary"}],
            "oscillation": DAMP,
        },
        PULLED.format("recipe.rules[0]", "binary"),
    ),
    "cluster": (
        {
            "weights": {"granularity": "tensor"},
            "cluster": {"values": 16},
            "oscillation": FREEZE,
        },
        CLUSTER,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_go_together_is_said_up_front(name):
    recipe, text = WRONG[name]
    assert message(qat.prepare, nn.Linear(2, 2), torch.ones(1, 2), recipe) == text


def test_damping_needs_a_training_forward():
    qmodel = layer({"oscillation": DAMP}, [7.0, 2.6])
    with qat.calibrate(qmodel):
        qmodel(torch.eye(2))
    qmodel.eval()(torch.eye(2))
    assert message(qat.oscillation_loss, qmodel) == (
        "oscillation_loss: no training forward has run; call the model in train() first, then add "
        "the result to the loss of its outputs."
    )
