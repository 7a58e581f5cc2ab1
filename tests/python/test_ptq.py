"""Post-training steps: each against a reference in double, and what every one must leave true."""

import copy
import re

import pytest
import qat_ext as qat
import torch
from insertion_support import Of, assert_converts
from torch import nn

GENERATOR = torch.Generator().manual_seed(5)


def images(rows):
    """Smooth, as images are: to independent values rounding to nearest is the best there is."""
    noise = torch.randn(rows, 3, 14, 14, generator=GENERATOR)
    colour = torch.randn(rows, 3, 1, 1, generator=GENERATOR)
    return nn.functional.avg_pool2d(noise, 5, 1) * 4 + colour


X = images(48)
BATCHES = [images(24) for _ in range(4)]
LOW_BITS = {"weights": {"bits": 4}}


class Net(nn.Module):
    """Every kind of pair: to depthwise, from depthwise, to a layer behind a mean."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.point = nn.Conv2d(16, 20, 1)
        self.head = nn.Linear(20, 8)

    def forward(self, x):
        y = torch.relu_(self.bn1(self.conv(x)))
        y = torch.relu(self.bn2(self.deep(y)))
        return self.head(torch.relu(self.point(y)).mean((2, 3)))


def net():
    """Channels of unlike sizes and statistics that belong to the data."""
    torch.manual_seed(2)
    model = Net()
    with torch.no_grad():
        for norm in (model.bn1, model.bn2):
            norm.weight.uniform_(0.05, 3)
            norm.bias.normal_()
        for _ in range(3):  # each batch norm needs those before it to have settled
            for norm in (model.bn1, model.bn2):
                norm.reset_running_stats()
                norm.momentum = None
            for batch in BATCHES:
                model.train()(batch)
    return model.eval()


def prepared(model, recipe=None, x=X):
    return qat.prepare(model, x, recipe or LOW_BITS).eval()


def calibrated(qmodel, batches=BATCHES):
    with qat.calibrate(qmodel), torch.no_grad():
        for batch in batches:
            qmodel(batch)
    return qmodel


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# ---- equalize


def folded(conv, norm=None):
    """Weight as batch norm scales it, [out, in of the group, positions], in double."""
    weight = (
        conv.weight.detach().double().flatten(2)
        if conv.weight.dim() > 2
        else (conv.weight.detach().double().unsqueeze(2))
    )
    if norm is None:
        return weight
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return weight * gain[:, None, None]


def output_ranges(weight):
    return weight.abs().amax((1, 2))


def input_ranges(weight, groups=1):
    out, width, positions = weight.shape
    return weight.reshape(groups, out // groups, width, positions).abs().amax((1, 3)).flatten()


def largest_effect(model, x):
    """The sum of the magnitudes of every path: the network of absolute values."""
    big = copy.deepcopy(model).double()
    with torch.no_grad():
        y = x.double().abs()
        for conv, norm in ((big.conv, big.bn1), (big.deep, big.bn2)):
            gain = norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
            y = nn.functional.conv2d(y, conv.weight.abs(), padding=conv.padding, groups=conv.groups)
            shift = norm.bias.abs() + norm.running_mean.abs() * gain
            y = y * gain[:, None, None] + shift[:, None, None]
        y = nn.functional.conv2d(y, big.point.weight.abs(), big.point.bias.abs()).mean((2, 3))
        return nn.functional.linear(y, big.head.weight.abs(), big.head.bias.abs())


def test_equalize_keeps_the_float_function():
    """Evaluated in double, all that remains is one rounding of each parameter, of 2^-24 of its
    size. A path crosses at most 4 weights, 2 gammas and one bias or beta: 7 roundings; 8 leaves
    room for their products."""
    model = net()
    with torch.no_grad():
        before = copy.deepcopy(model).double()(X.double())
    limit = 8 * 2.0**-24 * largest_effect(model, X)
    pairs = qat.equalize(prepared(model))
    assert list(pairs) == [("conv", "deep"), ("deep", "point"), ("point", "head")]
    with torch.no_grad():
        after = copy.deepcopy(model).double()(X.double())
    assert ((after - before).abs() <= limit).all()
    assert all(high > 1.05 or low < 0.95 for low, high in pairs.values())


def test_equalize_brings_both_sides_to_one_range():
    """At the fixed point r1 = r2, unless the channel is held back by the widest value behind its
    batch norm. Sweeps end at factors within 1e-4 of 1; a later pair of the same sweep moves r2
    once more by as much, and r1/r2 is the square of a factor."""
    model = net()
    qat.equalize(prepared(model))
    for first, norm, second, after in (
        (model.conv, model.bn1, model.deep, model.bn2),
        (model.deep, model.bn2, model.point, None),
        (model.point, None, model.head, None),
    ):
        r1 = output_ranges(folded(first, norm))
        r2 = input_ranges(folded(second, after), getattr(second, "groups", 1))
        ratio = r1 / r2
        held = torch.zeros_like(ratio, dtype=torch.bool)
        if norm is not None:
            reach = 3 * norm.weight.detach().double().abs() + norm.bias.detach().double().abs()
            held = reach > 0.999 * reach.max()
        assert (held | ((ratio - 1).abs() < 5e-4)).all()
        assert (~held).sum() > 8


def test_equalize_leaves_alone_what_does_not_scale():
    """ReLU6 is not homogeneous, and a value with two readers has no one to take the factor."""
    six = Of(
        lambda m, x: m.b(nn.functional.relu6(m.a(x))),
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 4, 1),
    )
    shared = Of(
        lambda m, x: m.b(y := torch.relu(m.a(x))) + y, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1)
    )
    twice = Of(
        lambda m, x: m.b(torch.relu(m.b(torch.relu(m.a(x))))),
        a=nn.Conv2d(3, 4, 1),
        b=nn.Conv2d(4, 4, 1),
    )
    for model in (six, shared, twice):
        before = weights(model)
        assert qat.equalize(prepared(model)) == {}
        assert all(torch.equal(before[name], value) for name, value in weights(model).items())


@pytest.mark.parametrize(
    "between",
    [
        lambda y: torch.nn.functional.leaky_relu(y, 0.2),
        lambda y: nn.functional.max_pool2d(torch.relu(y), 2),
        lambda y: nn.functional.avg_pool2d(nn.functional.dropout(y, training=False), 2),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_equalize_goes_through_what_scales(between, transposed):
    """Grouped and transposed on both sides. Roundings: 2 weights, a bias; see above."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = Of(
        lambda m, x: m.b(between(m.a(x))), a=kind(4, 8, 2, groups=2), b=kind(8, 6, 2, groups=2)
    ).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        model.a.weight.mul_(
            torch.logspace(-2, 2, model.a.weight.numel()).reshape_as(model.a.weight)
        )
        before = copy.deepcopy(model).double()(x.double())
        magnitude = copy.deepcopy(model).double()
        for tensor in magnitude.parameters():
            tensor.abs_()
        limit = 4 * 2.0**-24 * magnitude(x.double().abs())
    assert list(qat.equalize(prepared(model, x=x))) == [("a", "b")]
    with torch.no_grad():
        after = copy.deepcopy(model).double()(x.double())
    assert ((after - before).abs() <= limit).all()


def test_equalize_goes_through_a_flattened_image():
    model = Of(
        lambda m, x: m.b(torch.relu(m.a(x)).flatten(1)), a=nn.Conv2d(3, 4, 3), b=nn.Linear(256, 5)
    ).eval()
    with torch.no_grad():
        model.a.weight.mul_(torch.tensor([0.1, 1, 10, 100]).reshape(-1, 1, 1, 1))
        before = model(X)
        assert list(qat.equalize(prepared(model))) == [("a", "b")]
        # float32 sums of 27 and 256 terms, in two orders of size.
        assert torch.allclose(model(X), before, rtol=1e-4, atol=1e-4 * before.abs().max().item())
    r2 = model.b.weight.detach().abs().reshape(5, 4, -1).amax((0, 2))
    r1 = model.a.weight.detach().abs().amax((1, 2, 3))
    assert torch.allclose(r1, r2, rtol=5e-4)


# ---- the other steps


def reference_means(model, batches):
    """Mean over batches and positions of what each layer gives, behind its batch norm."""
    seen = {}

    def watch(name):
        return lambda module, inputs, output: seen.setdefault(name, []).append(
            output.detach().clone()
        )

    modules = {"conv": model.bn1, "deep": model.bn2, "point": model.point, "head": model.head}
    hooks = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    return {
        name: torch.cat(values).double().movedim(1, 0).flatten(1).mean(1)
        for name, values in seen.items()
    }


def quantized_means(qmodel, batches):
    sites = {"conv": "bn1", "deep": "bn2", "point": "point", "head": "head"}
    with torch.no_grad(), qat.taps(qmodel, list(sites.values())) as taps:
        seen = {site: [] for site in sites}
        for batch in batches:
            qmodel(batch)
            for site, tapped in sites.items():
                seen[site].append(taps[tapped].clone())
    return {
        site: torch.cat(values).double().movedim(1, 0).flatten(1).mean(1)
        for site, values in seen.items()
    }


def test_bias_correction_restores_the_means():
    """Behind the last correction every layer's mean is the float model's. What is left is the
    rounding of the float32 bias and of the values: 2^-24 of magnitudes below 64, a few times."""
    model = net()
    qmodel = calibrated(prepared(model))
    wanted = reference_means(copy.deepcopy(model), BATCHES)
    before = quantized_means(qmodel, BATCHES)
    shifts = qat.correct_bias(qmodel, BATCHES)
    assert list(shifts) == ["conv", "deep", "point", "head"]
    after = quantized_means(qmodel, BATCHES)
    for site, mean in wanted.items():
        assert (before[site] - mean).abs().max() > 1e-3
        assert (after[site] - mean).abs().max() < 64 * 2.0**-22
    # The first layer has nothing before it: its shift is what was missing.
    missing = (wanted["conv"] - before["conv"]).abs().max().item()
    assert shifts["conv"] == pytest.approx(missing, rel=1e-6)
    assert_converts(qmodel, X)


def test_batch_norm_takes_the_quantized_statistics():
    """The first batch norm sees the same values whatever is done to it: its statistics are those
    of all batches together, in double, to float32's 2^-24 and that of the values' own sums."""
    model = net()
    qmodel = calibrated(prepared(model))
    before = weights(model)
    with torch.no_grad(), qat.taps(qmodel, ["conv"]) as taps:
        values = []
        for batch in BATCHES:
            qmodel(batch)
            values.append(taps["conv"].double().clone())
    rows = torch.cat(values).movedim(1, 0).flatten(1)
    assert list(qat.reestimate_batch_norm(qmodel, BATCHES)) == ["conv", "deep"]
    assert torch.allclose(model.bn1.running_mean.double(), rows.mean(1), rtol=1e-6, atol=1e-6)
    assert torch.allclose(model.bn1.running_var.double(), rows.var(1), rtol=1e-6)
    changed = {name for name, value in weights(model).items() if not before[name].equal(value)}
    assert changed == {f"bn{i}.running_{what}" for i in (1, 2) for what in ("mean", "var")}
    assert_converts(qmodel, X)


def output_error(qmodel, wanted):
    with torch.no_grad():
        return (qmodel(X) - wanted).square().mean().item()


@pytest.mark.parametrize("step", ["reestimate_batch_norm", "correct_bias", "adaround"])
def test_a_step_lowers_the_error_of_the_outputs(step):
    model = net()
    with torch.no_grad():
        wanted = model(X)
    qmodel = calibrated(prepared(model, {"weights": {"bits": 3}}))
    before = output_error(qmodel, wanted)
    options = {"iterations": 100} if step == "adaround" else {}
    getattr(qat, step)(qmodel, BATCHES, **options)
    assert output_error(qmodel, wanted) < 0.8 * before
    assert_converts(qmodel, X)


def test_equalize_lowers_the_error_of_one_scale_per_tensor():
    """Without batch norm, whose gain is no part of the codes, and with unlike channels."""
    torch.manual_seed(4)
    model = Of(
        lambda m, x: m.b(torch.relu(m.a(x))).mean((2, 3)),
        a=nn.Conv2d(3, 8, 3),
        b=nn.Conv2d(8, 6, 1),
    ).eval()
    with torch.no_grad():
        sizes = torch.logspace(-1.5, 1.5, 8)
        model.a.weight.mul_(sizes.reshape(-1, 1, 1, 1))
        model.a.bias.mul_(sizes)
        model.b.weight.div_(sizes.reshape(1, -1, 1, 1))
        wanted = model(X)
    recipe = {"weights": {"granularity": "tensor"}}
    before = output_error(calibrated(prepared(copy.deepcopy(model), recipe)), wanted)
    qmodel = prepared(model, recipe)
    qat.equalize(qmodel)
    assert output_error(calibrated(qmodel), wanted) < 0.05 * before
    assert_converts(qmodel, X)


def test_all_steps_together_and_then_training():
    model = net()
    with torch.no_grad():
        wanted = model(X)
    plain = output_error(calibrated(prepared(copy.deepcopy(model))), wanted)
    qmodel = prepared(model)
    qat.equalize(qmodel)
    reference = copy.deepcopy(model.state_dict())
    calibrated(qmodel)
    qat.reestimate_batch_norm(qmodel, BATCHES)
    qat.correct_bias(qmodel, BATCHES, reference)
    qat.adaround(qmodel, BATCHES, iterations=100, reference=reference)
    assert output_error(qmodel, wanted) < 0.7 * plain
    assert_converts(qmodel, X)
    qmodel.train()
    optimizer = torch.optim.SGD(qmodel.parameters(), 1e-3)
    (qmodel(X) - wanted).square().mean().backward()
    optimizer.step()
    assert_converts(qmodel.eval(), X)


# ---- adaround


@pytest.mark.parametrize(
    "weights_recipe",
    [
        {"bits": 4},
        {"bits": 8},
        {"bits": 3, "granularity": "tensor"},
        {"bits": 4, "power_of_two": True},
        {"bits": 4, "method": "mse"},
        {"bits": 4, "method": "lsq"},
    ],
)
def test_adaround_rounds_better_than_to_nearest(weights_recipe):
    model = net()
    qmodel = calibrated(prepared(model, {"weights": weights_recipe}))
    with torch.no_grad():
        qmodel(X)  # methods with parameters take them from the first weight
    largest = {
        name: module.weight.detach().abs().flatten(1).amax(1)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    layers = qat.adaround(qmodel, BATCHES, iterations=100)
    assert list(layers) == ["conv", "deep", "point", "head"]
    for layer in layers.values():
        assert layer.error <= layer.nearest_error
    total = sum(layer.error / layer.nearest_error for layer in layers.values()) / len(layers)
    assert total < (0.98 if weights_recipe["bits"] == 8 else 0.8)
    assert any(layer.changed > 0.02 for layer in layers.values())
    for name, before in largest.items():  # the scales have not moved
        after = model.get_submodule(name).weight.detach().abs().flatten(1).amax(1)
        assert torch.equal(after.amax(), before.amax())
        if weights_recipe.get("granularity") != "tensor":
            assert torch.equal(after, before)
    assert_converts(qmodel, X)


def test_adaround_reports_the_error_that_the_layer_has():
    """The layer with batch norm and ReLU, before its result is rounded; float32 sums against
    integer ones differ by some 2^-20 of the values, the error by some 1e-4 of itself."""
    model = net()
    floating = copy.deepcopy(model)
    qmodel = calibrated(prepared(model))
    before = first_layer_error(qmodel, floating)
    layer = qat.adaround(qmodel, BATCHES, iterations=100)["conv"]
    after = first_layer_error(qmodel, floating)
    assert layer.nearest_error == pytest.approx(before, rel=1e-3)
    assert layer.error == pytest.approx(after, rel=1e-3)
    assert after < before


def first_layer_error(qmodel, floating):
    """Behind ReLU, from the real value before the quantizer."""
    with torch.no_grad(), qat.taps(qmodel, ["bn1"]) as taps:
        errors = []
        for batch in BATCHES:
            qmodel(batch)
            wanted = torch.relu(floating.bn1(floating.conv(batch))).double()
            errors.append((taps["bn1"].double().relu() - wanted).square().mean().item())
    return sum(errors) / len(errors)


def test_adaround_is_repeatable_and_draws_nothing():
    states = []
    for _ in range(2):
        model = net()
        qmodel = calibrated(prepared(model))
        state = torch.get_rng_state()
        qat.adaround(qmodel, BATCHES, iterations=20, samples=30, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(weights(model))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# ---- messages

REFUSED = "the weight method '{}' does not give back the codes that adaround writes; use absmax, "
REFUSED += "mse, lsq or tqt"


@pytest.mark.parametrize("method", ["dorefa", "ternary", "binary"])
def test_adaround_refuses_methods_that_cannot_hold_codes(method):
    model = net()
    qmodel = calibrated(
        prepared(model, {"weights": {"bits": 4 if method == "dorefa" else 2, "method": method}})
    )
    before = weights(model)
    with pytest.raises(qat.Error, match=f"^adaround: 'conv': {re.escape(REFUSED.format(method))}$"):
        qat.adaround(qmodel, BATCHES)
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())


def message(text):
    return pytest.raises(qat.Error, match="^" + re.escape(text))


def test_messages():
    model = net()
    qmodel = prepared(model)
    with message("equalize: expected a model made by prepare(), got Net"):
        qat.equalize(model)
    with message("forward: the quantizer 'conv.input' has seen no data"):
        qat.correct_bias(qmodel, BATCHES)
    with message("adaround: batches: expected at least one batch, got none"):
        qat.adaround(qmodel, [])
    with message("correct_bias: batches[0]: expected a tensor, a tuple of arguments or a dict"):
        qat.correct_bias(qmodel, [[X]])
    for name in ("iterations", "lr", "samples"):
        with message(f"adaround: {name}: expected a number above 0, got 0"):
            qat.adaround(qmodel, BATCHES, **{name: 0})
    with message(
        "correct_bias: reference: the model has no tensor 'weight'; give the state_dict()"
    ):
        qat.correct_bias(qmodel, BATCHES, {"weight": X})
    calibrated(qmodel)
    with message("reference: 'conv.weight': expected the shape of the model's tensor, got 14400"):
        qat.correct_bias(qmodel, BATCHES, {"conv.weight": X})
    with message("equalize: ranges have been observed already, and they would no longer fit; "):
        qat.equalize(qmodel)
    qmodel.train()
    steps = {
        "batch_norm": qat.reestimate_batch_norm,
        "bias_correction": qat.correct_bias,
        "adaround": qat.adaround,
    }
    for name, step in steps.items():
        with message(f"{name}: the model is in training mode; call eval() first"):
            step(qmodel, BATCHES)
    with message("equalize: the model is in training mode; call eval() first"):
        qat.equalize(qmodel)
