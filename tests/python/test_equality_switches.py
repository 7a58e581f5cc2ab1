"""recipe.numerics: every combination of its switches, every instruction set and any number of
threads give the logits and observe the ranges of the default, bit for bit."""

import functools
import hashlib
import itertools

import pytest
import qat_ext as qat
import torch
from equality import call, gradients, same_bits, train
from fresh_process import last_line_of
from insertion_support import Of
from models import SMALL
from torch import nn

MODELS = ("residual", "mixed")
THREADS = (1, 2, 4)
FORWARDS = [
    {"forward": forward, "fused": fused}
    for forward, fused in itertools.product(("integer", "float32"), (True, False))
]
BACKWARDS = ("float32", "int16", "bfloat16")
SAVES = ("float32", "float16", "recompute")
MODES = [
    forward | {"backward": backward, "save": save}
    for forward, backward, save in itertools.product(FORWARDS, BACKWARDS, SAVES)
]


def name_of(mode):
    return "-".join(str(value) for value in mode.values())


def prepared(model, mode):
    torch.manual_seed(0)
    made, example = SMALL[model]()
    return qat.prepare(made, example, recipe={"numerics": mode}), example


def no_grad_call(model, example):
    with torch.no_grad():
        return call(model, example)


@functools.cache
def default(model):
    """(state after training with the default switches, its logits in eval)."""
    torch.set_num_threads(2)
    qmodel, example = prepared(model, {})
    train(qmodel, [example, example], 0.05)
    qat.step(qmodel, 1.0)
    state = {name: tensor.clone() for name, tensor in qmodel.state_dict().items()}
    return state, no_grad_call(qmodel.eval(), example)


@pytest.mark.parametrize("mode", MODES, ids=name_of)
@pytest.mark.parametrize("model", MODELS)
def test_logits(model, mode):
    """Training with everything frozen, eval() and both executors, on 1, 2 and 4 threads."""
    state, expected = default(model)
    qmodel, example = prepared(model, mode)
    qmodel.load_state_dict(state)
    int8 = qat.convert(qmodel.eval())
    for threads in THREADS:
        torch.set_num_threads(threads)
        same_bits(no_grad_call(qmodel.eval(), example), expected, f"eval, {threads} threads")
        same_bits(call(qmodel.train(), example), expected, f"train, {threads} threads")
        same_bits(call(int8, example), expected, f"fast executor, {threads} threads")
        reference = int8.run(example, executor="reference")
        same_bits([reference], expected, f"reference executor, {threads} threads")


@functools.cache
def first_step(model, mode):
    """What training starts with: logits, ranges and gradients of the first step by threads."""
    found = {}
    for threads in THREADS:
        torch.set_num_threads(threads)
        qmodel, example = prepared(model, dict(mode))
        logits = [tensor.detach() for tensor in call(qmodel.train(), example)]
        qmodel, example = prepared(model, dict(mode))
        made = gradients(qmodel.train(), example)
        state = qmodel.state_dict()
        ranges = {name: state[name] for name in state if "quantizers" in name}
        found[threads] = logits, ranges, made
    return found


def first_step_of(model, **mode):
    return first_step(model, tuple(mode.items()))


@pytest.mark.parametrize("forward", FORWARDS, ids=name_of)
@pytest.mark.parametrize("model", MODELS)
def test_first_step_logits_and_ranges(model, forward):
    """Batch statistics and observed ranges move here, on any number of threads alike."""
    expected, expected_ranges, _ = first_step_of(model)[1]
    for threads, (logits, ranges, _) in first_step_of(model, **forward).items():
        same_bits(logits, expected, f"{threads} threads")
        assert set(ranges) == set(expected_ranges) and len(ranges) > 8
        for name, value in ranges.items():
            same_bits([value], [expected_ranges[name]], f"{name}, {threads} threads")


@pytest.mark.parametrize("save", ["float32", "recompute"])
@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("forward", FORWARDS, ids=name_of)
@pytest.mark.parametrize("model", MODELS)
def test_gradients(model, forward, backward, save):
    """Only `backward` and float16 saving have gradients of their own."""
    found = first_step_of(model, **forward, backward=backward, save=save)
    expected = first_step_of(model, backward=backward)
    for threads in THREADS:
        made, wanted = found[threads][2], expected[threads][2]
        assert set(made) == set(wanted)
        for name, value in made.items():
            same_bits([value], [wanted[name]], f"{name}, {threads} threads")


def test_gradients_differ_by_their_products():
    """The switch does something. (The layers of the other model are so small that `int16` leaves
    them to float32 products.)"""
    made = [first_step_of("residual", backward=backward)[2][2] for backward in BACKWARDS]
    for one, other in itertools.combinations(made, 2):
        assert any(not torch.equal(one[name], other[name]) for name in one)


def operators_of(model, mode):
    qmodel, example = prepared(model, mode)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        call(qmodel.train(), example)
    return {event.key for event in profiled.key_averages()}


def test_the_forward_switches_take_other_operators():
    """Equal bits must not come from a switch that is not wired."""
    integer = {"qat_ext::conv_int", "qat_ext::linear_int"}
    apart = {"qat_ext::bn_act", "qat_ext::observe_minmax_", "qat_ext::quantize"}
    default = operators_of("residual", {})
    assert integer <= default and "qat_ext::bn_act_quantize" in default
    assert not apart & default - {"qat_ext::bn_act"}  # the first step sets ranges from its values
    in_float = operators_of("residual", {"forward": "float32"})
    assert not integer & in_float and "aten::mkldnn_convolution" in in_float
    separate = operators_of("residual", {"fused": False})
    assert apart <= separate and "qat_ext::bn_act_quantize" not in separate


def bfloat16_error(found, expected):
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_gradients(model):
    """A layer rounds its gradient and its result, 2.35e-3 of the norm together (Note [bfloat16
    gradients]), independently of the layer behind it: over a path of n layers sqrt(n) of that. A
    float32 sum of the gradients of many elements that cancel, as batch norm's, is smaller than its
    terms; a factor of 4 allows for that."""
    exact = first_step_of(model)[2][2]
    found = first_step_of(model, backward="bfloat16")[2][2]
    layers = 6
    limit = 4 * layers**0.5 * 2.35e-3
    errors = {
        name: bfloat16_error(found[name], exact[name])
        for name in exact
        if exact[name].norm() > 1e-3 * max(gradient.norm() for gradient in exact.values())
    }
    assert 1e-4 < max(errors.values()) < limit, errors


def wide_layers():
    """Layers with sums beyond 2^24 and how many elements each takes."""
    return {
        "channels": (nn.Conv2d(144, 4, 3), (2, 144, 5, 5)),
        "groups": (nn.Conv2d(288, 4, 3, groups=2), (2, 288, 4, 4)),
        "transposed": (nn.ConvTranspose2d(144, 4, 3), (2, 144, 4, 4)),
        "kernel": (nn.Conv1d(2, 3, 1500), (2, 2, 1510)),
        "rows": (nn.Linear(2000, 5), (3, 2000)),
        "tokens": (nn.Linear(2000, 5), (2, 3, 2000)),
        "whole": (nn.Conv2d(16, 4, 3), (2, 16, 5, 5)),
    }


def uncut(layer, codes, zero_point):
    """The float32 accumulators of one product, without any care."""
    weight = torch.ops.qat_ext.quantize_weight(
        layer.weight.detach(), axis=0, groups=1, bits=8, narrow=True, power_of_two=False
    )[0]
    x, w = codes.float() - zero_point, weight.float()
    return nn.functional.conv2d(x, w), nn.functional.conv2d(x.double(), w.double())


@pytest.mark.parametrize("name", wide_layers())
def test_sums_beyond_float32_are_cut(name):
    """All weights near the largest one, all inputs near the upper end: 255 * 127 * 1296 is 2.5
    times 2^24, where float32 has even numbers only."""
    layer, shape = wide_layers()[name]
    x = 1 - 0.1 * torch.rand(shape)
    with torch.no_grad():
        layer.weight.copy_(1 - 0.1 * torch.rand_like(layer.weight))
    found = []
    for mode in FORWARDS:
        qmodel = qat.prepare(Of(lambda of, t: of.layer(t), layer=layer), x, {"numerics": mode})
        qmodel.train()(x)
        qat.step(qmodel, 1.0)
        report = qat.verify(qmodel.eval(), qat.convert(qmodel), [x])
        assert report.equal, report
        found.append(no_grad_call(qmodel, x))
    for logits in found[1:]:
        same_bits(logits, found[0], name)


def test_without_the_cut_they_would_differ():
    """What the test above would not notice otherwise."""
    layer, shape = wide_layers()["channels"]
    with torch.no_grad():
        layer.weight.copy_(1 - 0.1 * torch.rand_like(layer.weight))
    careless, exact = uncut(layer, torch.randint(230, 256, shape), 0)
    assert not torch.equal(careless, exact.float())


@pytest.mark.parametrize("key, value, message", [
    ("forward", "int4", "recipe.numerics.forward: expected one of integer, float32, got \"int4\""),
    ("fused", "yes", "recipe.numerics.fused: expected true or false, got \"yes\""),
    ("backward", 16, "recipe.numerics.backward: expected one of float32, int16, bfloat16, got 16"),
])  # fmt: skip
def test_messages(key, value, message):
    with pytest.raises(qat.Error, match=message):
        prepared("residual", {key: value})


def digests():
    """{model and switches: hash of the logits in training and eval}."""
    found = {}
    for model, mode in itertools.product(MODELS, FORWARDS):
        qmodel, example = prepared(model, mode)
        logits = call(qmodel.train(), example)
        qat.step(qmodel, 1.0)
        logits += no_grad_call(qmodel.eval(), example) + call(qat.convert(qmodel), example)
        sha = hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in logits))
        found[f"{model} {name_of(mode)}"] = sha.hexdigest()
    for backward in ("float32", "int16"):  # of torch's own sums, which are not exact, it has none
        qmodel, example = prepared("residual", {"backward": backward})
        train(qmodel, [example] * 2, 0.05)
        state = (tensor.numpy().tobytes() for tensor in qmodel.state_dict().values())
        found[f"trained {backward}"] = hashlib.sha256(b"".join(state)).hexdigest()
    return found


def digests_under(**environment):
    code = "import test_equality_switches as t; print(sorted(t.digests().items()))"
    return last_line_of(f"import conftest; {code}", environment)


@pytest.fixture(scope="module")
def portable():
    return digests_under(QAT_CPU_CAPABILITY="generic", OMP_NUM_THREADS="1")


@pytest.mark.parametrize("capability", ["avx2", "avx512"])
@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_instruction_sets(portable, capability, threads):
    assert digests_under(QAT_CPU_CAPABILITY=capability, OMP_NUM_THREADS=threads) == portable


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE", "AVX512_CORE_VNNI"])
def test_instruction_sets_of_onednn(portable, isa):
    """Float products (`forward: float32`) and attention are oneDNN's and MKL's."""
    assert digests_under(ONEDNN_MAX_CPU_ISA=isa, OMP_NUM_THREADS="2") == portable


@pytest.mark.parametrize("backward", ("float32", "int16"))
def test_training_has_the_same_bits_on_any_number_of_threads(backward):
    """The order of our float32 sums depends on shapes alone (Note [Order of float32 sums]); torch's
    own sums, as those of layer norm, depend on threads."""
    states = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        qmodel, example = prepared("residual", {"backward": backward})
        train(qmodel, [example] * 3, 0.05)
        states.append(list(qmodel.state_dict().values()))
    for threads, state in zip(THREADS[1:], states[1:], strict=True):
        same_bits(state, states[0], f"{threads} threads")
