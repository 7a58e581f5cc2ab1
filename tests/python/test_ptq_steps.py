"""Bias correction and batch norm statistics against means in double; all steps on one model."""

import copy

import pytest
import qat_ext as qat
import torch
from insertion_support import Of, assert_converts
from ptq_support import BATCHES, X, calibrated, net, prepared, weights
from torch import nn


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
