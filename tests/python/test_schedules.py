"""recipe.schedule, `start` of a rule and recipe.freeze: what runs when, and what is left of it."""

import copy
import json
import math
import signal
from pathlib import Path

import pytest
import qat_ext as qat
import torch
from equality import call, loss_of
from job_support import last_line, needs_qat, stop_when, write_job
from job_support import qat as command
from models import SMALL
from safetensors.numpy import load_file
from torch import nn

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
LATE = {"schedule": {"start": 0.5}}
LAST_BITS = {"weights": {"bits": 4}, "activations": {"bits": 4}}
STAGES = [
    {"until": 0.3, "weights": 8, "activations": 8},
    {"until": 0.6, "weights": 6, "activations": 5},
]


def perceptron():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def calibrated(recipe, model=None):
    qmodel = qat.prepare(perceptron() if model is None else model, X, recipe)
    qmodel.eval()
    with qat.calibrate(qmodel):
        qmodel(X)
        qmodel(X * 1.5)
    return qmodel


def train(qmodel, batches, rate=0.05):
    qmodel.train()
    optimizer = torch.optim.SGD(qmodel.parameters(), rate)
    for batch in batches:
        optimizer.zero_grad()
        qmodel(batch).square().mean().backward()
        optimizer.step()


def quantizer(qmodel, path):
    return qmodel.quantizers.get_submodule(path)


def message(function, *arguments):
    with pytest.raises(qat.Error) as error:
        function(*arguments)
    return str(error.value)


def assert_ships(qmodel, *batches):
    report = qat.verify(qmodel, qat.convert(qmodel.eval()), list(batches))
    assert report.equal, report


# ---- start


@pytest.mark.parametrize("training", [True, False])
def test_before_its_start_the_model_is_the_float_model(training):
    model = perceptron().train(training)
    expected = copy.deepcopy(model)(X)
    qmodel = qat.prepare(model, X, LATE).train(training)
    qat.step(qmodel, 0.499)
    assert torch.equal(qmodel(X), expected)
    qat.step(qmodel, 0.5)
    qmodel.train()
    assert not torch.equal(qmodel(X), expected)


def test_ranges_follow_the_float_values_meanwhile():
    qmodel = qat.prepare(perceptron(), X, LATE).train()
    seen = []
    qmodel.model[2].register_forward_hook(lambda m, i, o: seen.append(o.max().item()))
    for factor in (1.0, 3.0, 0.5):
        qmodel(X * factor)
    qmodel.state_dict()  # takes the last observation in
    state = quantizer(qmodel, "relu")
    assert state.count == 3
    # A mean of all batches, float32 with one rounding per operation: three of each 2^-24.
    assert state.max.item() == pytest.approx(sum(seen) / 3, rel=9 * 2.0**-24)


def test_a_learned_range_starts_from_what_was_observed_until_its_start():
    late = {**LATE, "activations": {"method": "lsq", "init": "minmax"}}
    qmodel = qat.prepare(perceptron(), X, late).train()
    qmodel(X)
    qmodel(4 * X)
    assert quantizer(qmodel, "relu").calibrated == 0
    qat.step(qmodel, 0.5)
    qmodel(X)
    state = quantizer(qmodel, "relu")
    assert state.calibrated == 1
    assert state.scale.item() == pytest.approx((state.max - state.min).item() / 255, rel=1e-6)


def test_an_active_layer_quantizes_what_an_inactive_site_hands_it():
    """Against the contract in float64; both sides of the late site in integers."""
    rules = [{"sites": "3", "start": 0.5}, {"sites": "relu_1", "start": 0.5}]
    qmodel = calibrated({"rules": rules})

    def fake(x, path):  # rules 2, 3 and 5
        state = quantizer(qmodel, path)
        low, high = state.min.double().clamp(max=0), state.max.double().clamp(min=0)
        scale = (high - low) / 255
        zero = torch.round(-low / scale).clamp(0, 255)
        return (torch.round(x / scale + zero).clamp(0, 255) - zero) * scale

    def weight(layer):
        w = layer.weight.detach().double()
        scale = w.abs().amax(1, keepdim=True) / 127
        return torch.round(w / scale) * scale

    first, norm, _, second, _, last = qmodel.model
    y = fake(X.double(), "0.input") @ weight(first).T + first.bias.double()
    y = (y - norm.running_mean) / torch.sqrt(norm.running_var.double() + norm.eps)
    y = fake((y * norm.weight + norm.bias).relu(), "relu")
    y = (y @ second.weight.double().T + second.bias.double()).relu()  # the late sites
    y = fake(y, "relu_1") @ weight(last).T + last.bias.double()
    # A code that float32 rounds the other way than float64 moves a logit by a step of 1/255 of the
    # range, more than this allows.
    torch.testing.assert_close(qmodel.eval()(X).double(), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("seed", [0, 1])
def test_sites_in_any_order_train_and_ship(name, seed):
    torch.manual_seed(7)
    model, example = SMALL[name]()
    sites = qat.prepare(model, example).sites()
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(0, 4, (len(sites),), generator=generator) / 4
    rules = [
        {"sites": site.replace("[", "[[]"), "start": start}
        for site, start in zip(sites, starts.tolist())
    ]
    qmodel = qat.prepare(model, example, {"rules": rules}).train()
    optimizer = torch.optim.SGD(qmodel.parameters(), 1e-3)
    for fraction in (0, 0.25, 0.5, 0.75):
        qat.step(qmodel, fraction)
        optimizer.zero_grad()
        loss = loss_of(call(qmodel, example))
        loss.backward()
        assert math.isfinite(loss.item())
        assert all(p.grad is not None for p in qmodel.model.parameters())
        optimizer.step()
    qmodel.eval()
    assert_ships(qmodel, example)


def test_what_is_left_is_named():
    rules = [{"sites": "5", "start": 0.25}, {"sites": "3", "start": 0.75}]
    qmodel = calibrated({"rules": rules})
    error = "convert: '{}' (linear) is not quantized before fraction {}; call step(model, {})"
    assert message(qat.convert, qmodel) == error.format("3", 0.75, 0.75)
    qat.step(qmodel, 0.75)
    assert_ships(qmodel, X)
    other = calibrated({"rules": rules[:1]})
    assert message(qat.convert, other) == error.format("5", 0.25, 0.25)


def test_a_later_rule_wins_and_overrides_the_schedule():
    recipe = {**LATE, "rules": [{"sites": "*", "start": 0.9}, {"sites": "*", "start": 0.1}]}
    qmodel = calibrated(recipe)
    qat.step(qmodel, 0.1)
    assert_ships(qmodel, X)


def test_the_schedule_never_goes_back_and_is_part_of_the_state():
    qmodel = calibrated(LATE)
    qat.step(qmodel, 0.75)
    qat.step(qmodel, 0.0)
    state = qmodel.state_dict()
    assert state["quantizers.schedule.fraction"].tolist() == [0.75]
    resumed = qat.prepare(perceptron(), X, LATE).eval()
    assert "not quantized before" in message(qat.convert, resumed)
    resumed.load_state_dict(state)
    assert torch.equal(resumed(X), qmodel(X))
    assert_ships(resumed, X)
    assert torch.equal(copy.deepcopy(qmodel)(X), qmodel(X))


# ---- stages


def staged(**sections):
    return {**LAST_BITS, "schedule": {"stages": STAGES}, **sections}


@pytest.mark.parametrize("weights", ["absmax", "mse", "dorefa"])
@pytest.mark.parametrize("observer", ["ema_minmax", "minmax", "percentile"])
def test_a_stage_is_the_recipe_with_its_bits(weights, observer):
    """Bit-equal logits; `share` of mse is searched for the last bits, so it is handed over."""
    qmodel = calibrated(
        staged(weights={"bits": 4, "method": weights}, activations={"bits": 4, "method": observer})
    )
    for fraction, w, a in ((0.0, 8, 8), (0.3, 6, 5), (0.6, 4, 4)):
        qat.step(qmodel, fraction)
        same = {"weights": {"bits": w, "method": weights},
                "activations": {"bits": a, "method": observer}}  # fmt: skip
        plain = calibrated(same)
        qmodel.eval()(X)
        plain.load_state_dict(qmodel.state_dict())
        assert torch.equal(qmodel(X), plain.eval()(X)), fraction
    assert_ships(qmodel, X)


@pytest.mark.parametrize("method", ["lsq", "tqt"])
def test_a_learned_scale_keeps_its_range(method):
    """A stage equals a model of its bits whose scales are the stored ones times the ratio of the
    largest codes; a threshold is a range already. The gradient is scaled likewise."""
    sections = {"weights": {"bits": 4, "method": method},
                "activations": {"bits": 4, "method": method, "init": "minmax"}}  # fmt: skip
    qmodel = calibrated(staged(**sections))
    qmodel(X)  # starts the learned ranges
    wide = {"weights": {"bits": 8, "method": method},
            "activations": {"bits": 8, "method": method, "init": "minmax"}}  # fmt: skip
    plain = calibrated(wide)
    plain(X)
    plain.load_state_dict(qmodel.state_dict())
    ratios = {}
    with torch.no_grad():
        for name, tensor in plain.quantizers.state_dict(keep_vars=True).items():
            ratio = 7 / 127 if ".weight." in name else 15 / 255
            if method == "tqt":
                ratio = 1 / 16
            if name.endswith(".scale"):
                ratios[name] = ratio
                tensor.mul_(torch.tensor(ratio, dtype=torch.float32))
            if name.endswith(".zero_point"):
                tensor.copy_((tensor / ratio).round())
    assert torch.equal(qmodel(X), plain(X))
    for model in (qmodel, plain):
        model.train()(X).square().sum().backward()
    theirs = dict(plain.quantizers.named_parameters())
    learned = {n: p for n, p in qmodel.quantizers.named_parameters() if p.grad is not None}
    assert learned
    for name, parameter in learned.items():
        # float32 products of the same sums in another order: a few roundings of 2^-24.
        expected = theirs[name].grad * ratios.get(name, 1.0)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=0)


def test_stages_train_on_with_one_optimizer_and_ship():
    recipe = staged(
        weights={"bits": 4, "method": "lsq"}, activations={"bits": 4, "method": "lsq_plus"}
    )
    qmodel = calibrated(recipe).train()
    shapes = {name: (t.data_ptr(), t.shape) for name, t in qmodel.quantizers.state_dict().items()}
    optimizer = torch.optim.Adam(qmodel.parameters(), 1e-3)
    for step in range(10):
        qat.step(qmodel, step / 10)
        optimizer.zero_grad()
        qmodel(X).square().mean().backward()
        optimizer.step()
    now = {name: (t.data_ptr(), t.shape) for name, t in qmodel.quantizers.state_dict().items()}
    assert now == shapes
    assert_ships(qmodel, X)


def test_fewer_bits_than_the_recipe_are_no_stage():
    coarse = {"schedule": {"stages": [{"until": 0.5, "weights": 4, "activations": 4}]}}
    plain = calibrated({})
    qmodel = calibrated(coarse)
    assert torch.equal(qmodel(X), plain(X))


def test_a_stage_in_force_is_named():
    qmodel = calibrated(staged())
    error = ("convert: recipe.schedule.stages[{}] keeps {} bits for weights and {} for activations "
             "until fraction {}; call step(model, 0.6)")  # fmt: skip
    assert message(qat.convert, qmodel) == error.format(0, 8, 8, 0.3)
    qat.step(qmodel, 0.3)
    assert message(qat.convert, qmodel) == error.format(1, 6, 5, 0.6)
    qat.step(qmodel, 0.6)
    assert_ships(qmodel, X)


# ---- freeze


def test_a_range_freezes_when_it_has_converged():
    qmodel = qat.prepare(perceptron(), X, {"freeze": {"convergence": 1e-6}}).train()
    state = quantizer(qmodel, "0.input")
    for _ in range(101):  # the first forward has no range to look at yet
        qmodel(X)
    qmodel(100 * X)
    assert state.convergence_steps == 101
    before = state.max.clone()
    qmodel(X)
    qmodel.state_dict()
    assert torch.equal(state.max, before)
    moving = quantizer(qmodel, "relu")  # batch norm's input grew meanwhile: a range of its own
    assert moving.convergence_steps == 101
    other = qat.prepare(perceptron(), X).train()
    other(X)
    other(100 * X)
    other.state_dict()
    assert quantizer(other, "0.input").max > 2 * before


def test_convergence_counts_from_the_last_range_that_was_left():
    """The state against the rule written out; changes are shares of the range's width."""
    threshold = 0.05
    recipe = {"activations": {"method": "minmax"}, "freeze": {"convergence": threshold}}
    qmodel = qat.prepare(perceptron(), X, recipe).train()
    state = quantizer(qmodel, "0.input")
    anchor, steps, low, high = None, 0, math.inf, -math.inf
    for factor in (1.0, 1.01, 1.02, 1.2, 1.2, 1.24, 1.5, 1.51):
        if anchor is not None or low <= high:
            if anchor and max(abs(low - anchor[0]), abs(high - anchor[1])) < threshold * (
                high - low
            ):
                steps += 1
            else:
                anchor, steps = (low, high), 1
        qmodel(factor * X)
        low, high = min(low, (factor * X).min().item()), max(high, (factor * X).max().item())
        assert state.convergence_steps.item() == steps
    assert state.convergence_anchor.tolist() == pytest.approx(anchor, rel=1e-6)


@pytest.mark.parametrize("how", ["convergence", "fraction"])
def test_learned_scales_freeze_too(how):
    recipe = {
        "weights": {"method": "lsq"},
        "activations": {"method": "lsq"},
        "freeze": {"convergence": 1e-3 if how == "convergence" else 0.0},
    }
    qmodel = qat.prepare(perceptron(), X, recipe).train()
    names = [name for name, _ in qmodel.quantizers.named_parameters()]

    def learning():
        qmodel.zero_grad(set_to_none=True)
        qmodel(X).square().sum().backward()
        return [n for n, p in qmodel.quantizers.named_parameters() if p.grad is not None]

    moving = [name for name in names if name.endswith("scale")]
    assert learning() == moving
    if how == "fraction":
        qat.step(qmodel, 0.8)
    else:
        for _ in range(101):
            qmodel(X)
    assert learning() == []
    assert_ships(qmodel.eval(), X)


# ---- the command

#: Late sites, stages and both remedies against oscillation in one run.
WHOLE = {
    "weights": {"bits": 4, "method": "lsq"},
    "activations": {"method": "lsq"},
    "schedule": {"start": 0.2, "stages": [{"until": 0.4, "weights": 6, "activations": 8}]},
    "rules": [{"sites": "layer1*", "start": 0.3}],
    "freeze": {"convergence": 0.01},
    "oscillation": {"damping": 0.001, "freeze": 0.005},
}


@needs_qat
def test_a_job_runs_the_whole_schedule(tmp_path: Path):
    job = write_job(tmp_path, rows=256)
    override = f"recipe={json.dumps(WHOLE)}"
    fields = last_line(command("train", job.name, "run=r", override, cwd=job.parent))
    assert fields["differing_logits"].startswith("0/")
    assert float(fields["int8_accuracy"]) > 0.4  # as in test_job_kinds.check_whole_run
    kept = load_file(tmp_path / "r" / "checkpoints" / "best_qat.safetensors")
    assert kept["quantizer.schedule.fraction"].tolist() == [1.0]
    codes = [tensor for name, tensor in kept.items() if name.endswith(".frozen_code")]
    assert any((code != -128).any() for code in codes)


@needs_qat
def test_a_job_stopped_on_its_way_resumes_to_identical_files(tmp_path: Path):
    """Stopped in the qat phase; see test_job_runs for the line."""
    job = write_job(tmp_path)
    job.write_text(job.read_text() + f"recipe: {json.dumps(WHOLE)}\n")
    whole = command("train", "job.yaml", "run=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    stop_when(job, "halved", 18, signal.SIGTERM)
    resumed = command("resume", "halved", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "checkpoints/best_qat.safetensors"):
        halved, unbroken = (tmp_path / run / name for run in ("halved", "whole"))
        assert halved.read_bytes() == unbroken.read_bytes(), name
