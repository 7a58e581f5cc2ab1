"""Every method of the quantizer family: bit equality after training, and learned parameters."""

import copy
import math

import pytest
import qat_ext as qat
import torch
from equality import check
from models import SMALL
from torch import nn

WEIGHTS = {
    "absmax": {"bits": 4},
    "absmax-stochastic": {"bits": 4, "method": "absmax", "rounding": "stochastic"},
    "mse-noise": {"bits": 3, "method": "mse", "noise": 0.5},
    "binary": {"bits": 2, "method": "binary"},
    "dorefa": {"bits": 3, "method": "dorefa"},
    "lsq": {"bits": 3, "method": "lsq"},
    "mse": {"bits": 3, "method": "mse"},
    "ternary": {"bits": 2, "method": "ternary"},
    "tqt": {"bits": 4, "method": "tqt"},
}
ACTIVATIONS = {
    method: {"bits": bits, "method": method}
    for method, bits in {
        "ema_minmax": 4, "minmax": 4, "percentile": 4, "mse": 3, "kl": 4,
        "lsq": 3, "lsq_plus": 3, "pact": 4, "tqt": 4,
    }.items()
}  # fmt: skip
LEARNED = ["lsq", "lsq_plus", "pact", "tqt"]


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_weight_methods_ship_what_they_train(weights, granularity, tmp_path):
    for model in ("residual", "decoder"):
        made, example = SMALL[model]()
        recipe = {"weights": WEIGHTS[weights] | {"granularity": granularity}}
        check(made, example, recipe, tmp_path)


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_activation_methods_ship_what_they_train(activations, tmp_path):
    for model in ("residual", "mixed"):
        made, example = SMALL[model]()
        check(made, example, {"activations": ACTIVATIONS[activations]}, tmp_path)


def test_every_registered_method_is_tested():
    with pytest.raises(qat.Error) as weights:
        qat.prepare(nn.Linear(2, 2), torch.ones(2, 2), {"weights": {"method": "none"}})
    with pytest.raises(qat.Error) as activations:
        qat.prepare(nn.Linear(2, 2), torch.ones(2, 2), {"activations": {"method": "none"}})
    known = sorted({w.get("method", "absmax") for w in WEIGHTS.values()})
    assert f"expected one of {', '.join(known)}, got" in str(weights.value)
    assert f"expected one of {', '.join(ACTIVATIONS)}, got".replace("pact, tqt", "pact, tqt") in (
        str(activations.value)
    )


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"weights": {"method": "ternary"}},
         "recipe.weights: method ternary has the codes -1, 0 and 1; expected bits: 2, got 8"),
        ({"weights": {"method": "binary", "bits": 3}},
         "recipe.weights: method binary has the codes -1 and 1, kept in two bits; expected bits: 2,"
         " got 3"),
        ({"weights": {"method": "lsq", "power_of_two": True}},
         "recipe.weights: method lsq learns a free scale; use tqt for powers of two"),
        ({"weights": {"method": "tqt", "rounding": "stochastic"}},
         "recipe.weights: method tqt rounds to nearest only"),
        ({"activations": {"method": "pact", "symmetric": True}},
         "recipe.activations: method pact clips unsigned codes; use lsq for symmetric ones"),
        ({"activations": {"method": "lsq_plus", "symmetric": True}},
         "recipe.activations: method lsq_plus learns a zero point; use lsq for symmetric codes"),
        ({"activations": {"init": "lsq"}},
         'recipe.activations.init: expected one of ema_minmax, minmax, percentile, mse, kl, got'
         ' "lsq"'),
        ({"rules": [{"sites": "*", "weight_method": "ternary"}]},
         "recipe.rules[0]: method ternary has the codes -1, 0 and 1; expected bits: 2, got 8"),
    ],
)  # fmt: skip
def test_what_a_method_cannot_do_is_said_by_prepare(recipe, message):
    with pytest.raises(qat.Error) as error:
        qat.prepare(nn.Linear(2, 2), torch.ones(2, 2), recipe)
    assert str(error.value) == message


def linear_step(method, weights="absmax", bits=4):
    """One backward through a linear layer; everything that the formulas need."""
    torch.manual_seed(3)
    layer = nn.Linear(24, 5, bias=False)
    x = torch.randn(16, 24)
    recipe = {
        "weights": {"method": weights, "bits": bits},
        "activations": {"method": method, "bits": bits, "init": "percentile", "percentile": 90},
    }
    qmodel = qat.prepare(layer, x, recipe)
    with qat.calibrate(qmodel):
        qmodel(x)
    qmodel.train()
    x.requires_grad_()
    out = qmodel(x)
    g = torch.randn(16, 5)
    (out * g).sum().backward()
    return layer, qmodel, x, g


def quantized(x, scale, zero_point, low, high):
    rounded = torch.round(x.float() * (1 / scale.float()) + zero_point).double()
    return rounded, rounded.clamp(low, high)


@pytest.mark.parametrize("method", LEARNED)
def test_gradients_of_learned_ranges_follow_the_papers(method):
    layer, qmodel, x, g = linear_step(method)
    state = dict(qmodel.quantizers.named_buffers()) | dict(qmodel.quantizers.named_parameters())
    state = {name.rsplit(".", 1)[1]: value for name, value in state.items() if "input" in name}
    zero_point = state["zero_point"].detach().round().clamp(0, 15)
    levels = {"pact": 15.0, "tqt": 16.0}.get(method, 1.0)
    if method == "tqt":
        scale = 2 ** state["log2_threshold"].detach().ceil() / levels
    else:
        scale = state["alpha" if method == "pact" else "scale"].detach() / levels
    rounded, codes = quantized(x.detach(), scale, zero_point, 0, 15)
    absmax = layer.weight.detach().abs().amax(1, keepdim=True)
    step = absmax / 7
    weight = torch.round(layer.weight.detach() / step).double() * step.double()
    grad = g.double() @ weight  # of x_hat
    clipped = rounded != codes
    v = x.detach().double() / scale.double()
    inside = rounded - zero_point - v
    factor = 1 / math.sqrt(24 * 15) if method.startswith("lsq") else 1.0
    if method == "pact":
        # d x_hat / d alpha: 1 where the upper end clips (Choi et al., eq. 3); the lower end, here
        # at zero_point steps below zero, moves by its share of the width.
        terms = torch.where(clipped, grad * (codes - zero_point) / levels, 0.0)
    else:
        terms = grad * torch.where(clipped, codes - zero_point, inside)
        if method == "tqt":  # d scale / d log2 t (Jain et al., eq. 7)
            terms = terms * scale.double() * math.log(2)
    expected = factor * terms.sum()
    found = next(p.grad for n, p in qmodel.quantizers.named_parameters() if "zero" not in n)
    # Float32 forward products and gradients of 24 terms each and the sum over 384: every term errs
    # by less than 32 units of 2^-24 of the magnitudes that it adds.
    magnitude = factor * (terms.abs() + grad.abs() * v.abs() * ~clipped).sum()
    assert abs(found.double() - expected) <= 32 * 2**-24 * magnitude + 2**-24 * abs(expected)
    assert expected.abs() > 0
    if method == "lsq_plus":
        offset = factor * torch.where(clipped, -scale.double() * grad, 0.0)
        found = next(p.grad for n, p in qmodel.quantizers.named_parameters() if "zero" in n)
        assert abs(found.double() - offset.sum()) <= 32 * 2**-24 * offset.abs().sum()


@pytest.mark.parametrize("method", ["lsq", "tqt"])
def test_gradients_of_learned_weight_scales_follow_the_papers(method):
    layer, qmodel, x, g = linear_step("minmax", weights=method)
    parameter = next(qmodel.quantizers.parameters())
    w = layer.weight.detach()
    if method == "lsq":
        scale, factor = parameter.detach(), 1 / math.sqrt(24 * 7)
    else:
        scale = 2 ** parameter.detach().ceil() / 8
        factor = scale.double() * math.log(2)
    rounded, codes = quantized(w, scale.unsqueeze(1), 0, -8, 7)
    lo, hi = x.detach().min(), x.detach().max()
    x_scale = (hi - lo) / 15
    zero = torch.round(0 - lo / x_scale)
    x_hat = (torch.round(x.detach() * (1 / x_scale) + zero) - zero).double() * x_scale.double()
    grad = g.double().T @ x_hat
    clipped = rounded != codes
    v = w.double() / scale.double().unsqueeze(1)
    terms = grad * torch.where(clipped, codes, rounded - v)
    magnitude = (terms.abs() + grad.abs() * v.abs() * ~clipped).sum(1) * factor
    # As above, with 16 terms in each gradient.
    error = (parameter.grad.double() - terms.sum(1) * factor).abs()
    assert (error <= 32 * 2**-24 * magnitude + 2**-24 * error).all()
    torch.testing.assert_close(  # straight through, zero where the code is clipped
        layer.weight.grad.double(), torch.where(clipped, 0.0, grad), rtol=0, atol=1e-4
    )


def values(kind):
    made = {
        "constant": torch.full((4, 6), 3.0),
        "zeros": torch.zeros(4, 6),
        "negative": -torch.ones(4, 6),
        "one_nan": torch.tensor([math.nan] + [1.0] * 23).reshape(4, 6),
        "all_nan": torch.full((4, 6), math.nan),
        "infinite": torch.full((4, 6), math.inf),
        "enormous": torch.full((4, 6), 3e38) * torch.tensor([1, -1, 1, -1, 1, -1]),
        "denormal": torch.full((4, 6), 1e-42),
    }  # fmt: skip
    return made[kind]


KINDS = ["constant", "zeros", "negative", "one_nan", "all_nan", "infinite", "enormous", "denormal"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ACTIVATIONS)
def test_degenerate_activations_give_usable_scales(method, kind):
    torch.manual_seed(0)
    qmodel = qat.prepare(nn.Linear(6, 3), torch.randn(4, 6), {"activations": ACTIVATIONS[method]})
    with qat.calibrate(qmodel):
        qmodel(values(kind))
    qmodel.train()
    qmodel(values(kind)).nan_to_num(0.0, 0.0, 0.0).sum().backward()
    qmodel.eval()
    int8 = qat.convert(qmodel)
    for x in (values(kind), torch.randn(4, 6)):
        ours, theirs = qmodel(x), int8(x)
        assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))
    for name, tensor in qmodel.quantizers.state_dict().items():
        if name.endswith(("scale", "alpha", "log2_threshold")):
            assert tensor.isfinite().all(), name


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("value", [0.0, 2.5, 3e38, 1e-42])
def test_degenerate_weights_give_usable_scales(weights, value):
    layer = nn.Linear(6, 3, bias=False)
    nn.init.constant_(layer.weight, value)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    qmodel = qat.prepare(layer, x, {"weights": WEIGHTS[weights]})
    with qat.calibrate(qmodel):
        qmodel(x)
    qmodel.train()
    qmodel(x).nan_to_num(0.0, 0.0, 0.0).sum().backward()
    qmodel.eval()
    int8 = qat.convert(qmodel)
    assert torch.equal(qmodel(x).view(torch.int32), int8(x).view(torch.int32))


def test_a_scale_stays_positive_whatever_the_optimizer_does():
    layer, qmodel, x, _ = linear_step("lsq", weights="lsq")
    with torch.no_grad():
        for parameter in qmodel.quantizers.parameters():
            parameter.fill_(-0.25)
    qmodel.eval()
    int8 = qat.convert(qmodel)
    assert torch.equal(qmodel(x.detach()), int8(x.detach()))
    assert qmodel(x.detach()).abs().sum() > 0


def test_learned_parameters_exist_from_prepare_on_and_are_trained():
    made, example = SMALL["residual"]()
    recipe = {"weights": {"method": "lsq", "bits": 4}, "activations": {"method": "lsq", "bits": 4}}
    qmodel = qat.prepare(made, example, recipe)
    learned = dict(qmodel.quantizers.named_parameters())
    assert learned and all(isinstance(p, nn.Parameter) for p in learned.values())
    optimizer = torch.optim.SGD(qmodel.parameters(), lr=0.1)
    with qat.calibrate(qmodel):
        qmodel(example)
    qmodel.train()
    qmodel(example)  # weights set their scales when they are first quantized
    before = {name: p.detach().clone() for name, p in learned.items()}
    qmodel(example).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(p, before[name]) for name, p in learned.items())
    qat.step(qmodel, 1.0)
    optimizer.zero_grad()
    qmodel(example).square().sum().backward()
    assert all(p.grad is None for p in learned.values())  # frozen with the ranges

    restored = qat.prepare(copy.deepcopy(made), example, recipe)
    restored.load_state_dict(qmodel.state_dict())
    qmodel.eval(), restored.eval()
    assert torch.equal(qmodel(example), restored(example))
    assert torch.equal(copy.deepcopy(qmodel)(example), qmodel(example))


def test_stochastic_rounding_is_unbiased_and_ends_with_training():
    torch.manual_seed(0)
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.3, -0.3, 0.05]]))
    x = torch.eye(4)
    recipe = {"weights": {"bits": 2, "rounding": "stochastic"}, "activations": {"method": "minmax"}}
    qmodel = qat.prepare(layer, x, recipe)
    with qat.calibrate(qmodel):
        qmodel(x)
    qmodel.train()
    with torch.no_grad():
        draws = torch.stack([qmodel(x).flatten() for _ in range(4000)])
    # Each draw is one of two neighbouring codes of step 1: its standard deviation is at most 1/2,
    # that of the mean 1/2 / sqrt(4000) = 0.0079; five of them.
    assert (draws.mean(0) - layer.weight.flatten()).abs().max() < 0.04
    qmodel.eval()
    assert qmodel(x).flatten().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert torch.equal(qmodel(x), qat.convert(qmodel)(x))


class Sliced(nn.Module):
    """Three layers whose weights are cut out of one parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(12, 4) * torch.tensor([1.0, 20, 0.1]).repeat_interleave(4)[:, None]
        )

    def forward(self, x):
        for part in self.weight.chunk(3):
            x = nn.functional.linear(x, part)
        return x


def test_weights_cut_out_of_one_parameter_have_scales_of_their_own():
    torch.manual_seed(0)
    x = torch.randn(8, 4)
    recipe = {"weights": {"method": "lsq", "granularity": "tensor"}}
    qmodel = qat.prepare(Sliced(), x, recipe)
    with qat.calibrate(qmodel):
        qmodel(x)
    qmodel.train()
    qmodel(x).sum().backward()
    scales = [p for n, p in qmodel.quantizers.named_parameters()]
    assert len(scales) == 3 and len({p.item() for p in scales}) == 3
    assert all(p.grad is not None for p in scales)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


def test_one_parameter_quantized_in_two_ways_has_two_states():
    x = torch.randn(8, 4)
    rules = [{"sites": "<last>", "weight_bits": 4}]
    qmodel = qat.prepare(Tied(), x, {"weights": {"method": "lsq"}, "rules": rules})
    assert len(list(qmodel.quantizers.parameters())) == len(qmodel._core.state()) - len(
        list(qmodel.quantizers.buffers())
    )
    assert len([n for n, _ in qmodel._core.state() if n.endswith("weight.scale")]) == 2
    same = qat.prepare(Tied(), x, {"weights": {"method": "lsq"}})
    assert len([n for n, _ in same._core.state() if n.endswith("weight.scale")]) == 1
