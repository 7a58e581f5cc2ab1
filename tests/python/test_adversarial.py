"""fgsm and pgd on float, prepared and other modules."""

import pytest
import qat_ext as qat
import torch
from insertion_support import X, assert_converts, small, trained
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 0.1
INPUTS = X.sigmoid()
TARGETS = torch.tensor([0, 1, 2, 3])


def _models() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {"float": small().eval(), "prepared": trained(small(), INPUTS)}


@pytest.fixture(params=["float", "prepared"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return _models()[request.param]


def _loss(model: nn.Module, inputs: Tensor) -> float:
    with torch.no_grad():
        return float(functional.cross_entropy(model(inputs), TARGETS))


def _attacks(model: nn.Module) -> dict[str, Tensor]:
    return {
        "fgsm": qat.fgsm(model, INPUTS, TARGETS, EPSILON),
        "pgd": qat.pgd(model, INPUTS, TARGETS, EPSILON, steps=20),
    }


def test_attacks_stay_near_and_valid_and_raise_the_loss(model: nn.Module) -> None:
    for name, moved in _attacks(model).items():
        # One rounding of a sum below 2.
        assert float((moved - INPUTS).abs().max()) <= EPSILON + 1.2e-7, name
        assert 0 <= float(moved.min()) and float(moved.max()) <= 1, name
        assert _loss(model, moved) > _loss(model, INPUTS), name
        assert not moved.requires_grad


def test_fgsm_is_one_step_along_the_sign_of_the_gradient() -> None:
    model = _models()["float"]
    x = INPUTS.clone().requires_grad_()
    functional.cross_entropy(model(x), TARGETS).backward()
    assert x.grad is not None
    wanted = (INPUTS + EPSILON * x.grad.sign()).clamp(INPUTS - EPSILON, INPUTS + EPSILON)
    assert torch.equal(qat.fgsm(model, INPUTS, TARGETS, EPSILON), wanted.clamp(0, 1))


def test_bounds_may_differ_by_channel() -> None:
    epsilon = torch.tensor([0.0125, 0.05, 0.2]).view(3, 1, 1)
    low, high = (torch.tensor(v).view(3, 1, 1) for v in ([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]))
    inputs = INPUTS.clamp(low, high)
    moved = qat.pgd(_models()["float"], inputs, TARGETS, epsilon, low=low, high=high)
    assert bool(((moved - inputs).abs() <= epsilon + 1.2e-7).all())
    assert bool(((moved >= low) & (moved <= high)).all())
    assert float((moved - inputs).abs()[:, 2].max()) > 0.15


def test_the_model_is_left_as_it_was(model: nn.Module) -> None:
    """Modes, statistics, ranges and gradients, with a part that the user keeps in eval()."""
    model.train()
    batch_norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    batch_norm.eval()
    modes = [m.training for m in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = None
    _attacks(model)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_generator_makes_the_start_repeatable() -> None:
    model = _models()["float"]

    def attack(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return qat.pgd(model, INPUTS, TARGETS, EPSILON, steps=1, generator=generator)

    assert torch.equal(attack(1), attack(1))
    assert not torch.equal(attack(1), attack(2))


def test_works_under_no_grad_and_with_another_loss() -> None:
    model = _models()["float"]

    def first_logit(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs[:, 0].sum() + 0 * targets.sum()

    with torch.no_grad():
        moved = qat.fgsm(model, INPUTS, TARGETS, EPSILON, loss=first_logit)
        assert float(model(moved)[:, 0].sum()) > float(model(INPUTS)[:, 0].sum())


def test_training_on_attacked_inputs_keeps_the_models_equal() -> None:
    model = small()
    qmodel = qat.prepare(model, INPUTS)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        attacked = qat.fgsm(qmodel, INPUTS, TARGETS, EPSILON) if _ else INPUTS
        functional.cross_entropy(qmodel(attacked), TARGETS).backward()
        optimizer.step()
    qmodel.eval()
    assert_converts(qmodel, INPUTS, qat.pgd(qmodel, INPUTS, TARGETS, EPSILON))


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, _: out.detach().sum(),
        lambda out, t: functional.cross_entropy(out, t, reduction="none"),
    ],
)
def test_a_loss_is_one_number_of_the_inputs(loss: object) -> None:
    with pytest.raises(qat.Error) as caught:
        qat.fgsm(small(), INPUTS, TARGETS, EPSILON, loss=loss)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "pgd: loss: expected one number that depends on the inputs; the model or the loss detaches "
        "them, or returns a value per sample"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "pgd: epsilon: expected above 0, got 0"),
        ({"epsilon": 0.1, "steps": 0}, "pgd: steps: expected 1 or more, got 0"),
        ({"epsilon": 0.1, "step": -1.0}, "pgd: step: expected above 0, got -1"),
    ],
)
def test_wrong_numbers_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(qat.Error) as caught:
        qat.pgd(small(), INPUTS, TARGETS, **options)
    assert str(caught.value) == message
