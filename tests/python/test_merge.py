"""qat.merge_ranges: what several processes observed, against one that observed everything."""

import copy

import pytest
import qat_ext as qat
import torch
from torch import nn

EXACT = ["minmax", "percentile", "mse", "kl"]
PARTS = [
    torch.randn(16, 6, generator=torch.Generator().manual_seed(seed)) * scale
    for seed, scale in ((1, 1.0), (2, 3.0), (3, 0.2))
]


def model():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def observed(method, parts, net=None):
    qmodel = qat.prepare(net or model(), PARTS[0], {"activations": {"method": method}}).eval()
    with qat.calibrate(qmodel):
        for part in parts:
            qmodel(part)
    return qmodel


def state(qmodel):
    return {name: value.clone() for name, value in qmodel.state_dict().items()}


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_copies_together_are_one_that_saw_all(method, order):
    copies = [observed(method, [part]) for part in PARTS]
    first, *others = (copies[i] for i in order)
    for other in others:
        qat.merge_ranges(first, other.state_dict())
    whole = observed(method, PARTS)
    assert all(torch.equal(value, state(whole)[name]) for name, value in state(first).items())
    assert torch.equal(first(PARTS[1]), whole(PARTS[1]))
    assert torch.equal(qat.convert(first)(PARTS[1]), first(PARTS[1]))


def test_means_are_weighted_by_batches():
    one, two = observed("ema_minmax", PARTS[:2]), observed("ema_minmax", PARTS[2:])
    low = [part.min().double() for part in PARTS]
    qat.merge_ranges(one, two.state_dict())
    assert one.quantizers.get_submodule("0").input.count.item() == 3
    # Means of float32 numbers below 16, each rounded once or twice: 4 half units in the last place.
    merged = one.quantizers.get_submodule("0").input.min.double().item()
    assert merged == pytest.approx(sum(low).item() / 3, abs=4 * 2.0**-21)


def test_a_copy_that_saw_nothing_changes_nothing():
    one, blank = observed("mse", PARTS[:1]), observed("mse", [])
    before = state(one)
    qat.merge_ranges(one, blank.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in state(one).items())
    qat.merge_ranges(blank, one.state_dict())
    assert torch.equal(blank(PARTS[1]), one(PARTS[1]))


def test_learned_ranges_start_from_the_merged_observations():
    one, two = (observed("lsq", []) for _ in range(2))
    for qmodel, part in ((one, PARTS[0]), (two, PARTS[1])):
        qmodel.phase = "calibrate"
        qmodel(part)
    qat.merge_ranges(one, two.state_dict())
    one.phase = "qat"
    assert torch.equal(one(PARTS[0]), observed("lsq", PARTS[:2])(PARTS[0]))


OTHERS = {
    "other layers": (
        lambda: observed("mse", PARTS[:1], nn.Sequential(nn.Linear(6, 3)).eval()).state_dict(),
        "merge_ranges: the state lacks '1.min'; it has to come from the same model, prepared with "
        "the same recipe",
    ),
    "another method": (
        lambda: observed("minmax", PARTS[:1]).state_dict(),
        "merge_ranges: the state lacks '0.input.counts'; it has to come from the same model, "
        "prepared with the same recipe",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_states_of_other_models_are_refused_and_change_nothing(case):
    make, message = OTHERS[case]
    one = observed("mse", PARTS[:1])
    before = copy.deepcopy(state(one))
    with pytest.raises(qat.Error) as error:
        qat.merge_ranges(one, make())
    assert str(error.value).startswith("merge_ranges: the state lacks '")
    assert str(error.value).endswith(message[message.index("; it has") :])
    assert all(torch.equal(value, before[name]) for name, value in state(one).items())


def test_a_state_of_another_shape_is_refused():
    one = observed("mse", PARTS[:1])
    wrong = state(one)
    name = next(name for name in wrong if name.endswith("counts"))
    wrong[name] = wrong[name][:7]
    with pytest.raises(qat.Error) as error:
        qat.merge_ranges(one, wrong)
    assert str(error.value) == (
        f"merge_ranges: '{name.removeprefix('quantizers.')}' has another shape or type than here; "
        "it has to come from the same model, prepared with the same recipe"
    )


def test_a_state_that_cannot_be_merged_changes_nothing():
    """The last site is the broken one."""
    one = observed("mse", PARTS[:1])
    before = state(one)
    for break_it in (
        lambda s, names: s[names[-1]].fill_(1000),
        lambda s, names: s[names[-1].replace("exponent", "extremes")].fill_(float("nan")),
    ):
        wrong = state(observed("mse", PARTS[1:]))
        break_it(wrong, [name for name in wrong if name.endswith("exponent")])
        with pytest.raises(qat.Error):
            qat.merge_ranges(one, wrong)
        assert all(torch.equal(value, before[name]) for name, value in state(one).items())


@pytest.mark.parametrize(("method", "key"), [("minmax", "count"), ("mse", "counts")])
def test_counts_below_zero_are_refused(method, key):
    one = observed(method, PARTS[:1])
    wrong = state(one)
    name = next(name for name in wrong if name.endswith(f".{key}"))
    wrong[name].view(-1)[0] = -3
    with pytest.raises(qat.Error) as error:
        qat.merge_ranges(one, wrong)
    assert str(error.value) == (
        f"merge_ranges: '{name.removeprefix('quantizers.')}': expected counts of 0 or more, got -3"
    )


def test_only_prepared_models_merge():
    with pytest.raises(qat.Error) as error:
        qat.merge_ranges(nn.Linear(2, 2), {})
    assert str(error.value) == "merge_ranges: expected a model made by prepare(), got Linear"
