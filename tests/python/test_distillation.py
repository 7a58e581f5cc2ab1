"""Losses against a teacher in Python, and the values that taps take out of a forward."""

import math

import pytest
import qat_ext as qat
import torch
from insertion_support import X, assert_converts, small, trained
from torch import Tensor, nn

SITES = ["0", "relu", "3", "adaptive_avg_pool2d"]


def _soft(row: list[float], temperature: float) -> list[float]:
    terms = [math.exp(value / temperature) for value in row]
    return [term / sum(terms) for term in terms]


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (4.0, 0.9), (3.0, 0.0)])
def test_the_loss_is_that_of_the_formula(temperature: float, weight: float) -> None:
    student, teacher = torch.randn(6, 5) * 2, torch.randn(6, 5) * 2
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = 0.0
    for s, t, target in zip(student.tolist(), teacher.tolist(), targets.tolist(), strict=True):
        p, q = _soft(t, temperature), _soft(s, temperature)
        soft = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        hard = -math.log(_soft(s, 1.0)[target])
        expected += ((1 - weight) * hard + weight * temperature**2 * soft) / 6
    loss = qat.distillation_loss(student, teacher, targets, temperature=temperature, weight=weight)
    # float32 sums of some thirty terms below 10, times the squared temperature.
    assert float(loss) == pytest.approx(expected, abs=30 * 10 * 6e-8 * temperature**2)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    loss = qat.distillation_loss(student, teacher, torch.tensor([0, 1, 2]))
    (loss + qat.feature_loss(student, teacher)).backward()
    assert student.grad is not None and teacher.grad is None


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((2, 3, 2), {"temperature": 0.0}, "temperature: expected above 0, got 0"),
        ((2, 3, 2), {"weight": 1.5}, "weight: expected 0 to 1, got 1.5"),
        (
            (2, 4, 2),
            {},
            "teacher_logits: expected the shape of student_logits, [B, K], got [2, 4] beside "
            "[2, 3]",
        ),
        ((2, 3, 1), {}, "targets: expected int64[2], got Long of shape [1]"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: tuple[int, int, int], options: dict[str, float], message: str
) -> None:
    rows, classes, labels = arguments
    with pytest.raises(qat.Error) as caught:
        qat.distillation_loss(
            torch.zeros(2, 3),
            torch.zeros(rows, classes),
            torch.zeros(labels, dtype=torch.int64),
            **options,
        )
    assert str(caught.value) == "distillation_loss: " + message


def test_features_of_other_shapes_are_named() -> None:
    message = r"feature_loss: teacher: expected the student's shape \[2, 3\], got \[3\]"
    with pytest.raises(qat.Error, match=message):
        qat.feature_loss(torch.zeros(2, 3), torch.zeros(3))


def test_taps_change_no_bit_and_end_with_their_block() -> None:
    qmodel = trained(small())
    plain = qmodel(X)
    with qat.taps(qmodel, SITES) as values:
        assert torch.equal(qmodel(X), plain)
    assert list(values) == SITES
    assert all(isinstance(value, Tensor) for value in values.values())
    kept = values["relu"]
    qmodel(2 * X)
    assert values["relu"] is kept
    assert_converts(qmodel)


def test_in_the_float_phase_they_are_what_hooks_see() -> None:
    model = small(inplace=False).eval()
    seen = {}
    for index, name in enumerate(SITES):
        module = model[[0, 2, 3, 6][index]]
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    qmodel = qat.prepare(model, X)
    qmodel.phase = "floating"
    with qat.taps(qmodel, SITES) as values:
        qmodel(X)
    for name in SITES:
        assert torch.equal(values[name], seen[name]), name


def test_a_gradient_flows_through_them() -> None:
    qmodel = trained(small()).train()
    qmodel.zero_grad()
    with qat.taps(qmodel, ["relu"]) as values:
        qmodel(X)
    values["relu"].square().mean().backward()
    first, last = (qmodel.model[index].weight.grad for index in (0, 8))
    assert first is not None and float(first.abs().sum()) > 0
    assert last is None


@pytest.mark.parametrize("reentrant", [False, True])
def test_taps_of_a_checkpointed_part(reentrant: bool) -> None:
    """What is tapped is not counted among the tensors that checkpointing saves."""
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.rest = small()[:3], small()[3:]

        def forward(self, x: Tensor) -> Tensor:
            return self.rest(checkpoint(self.stem, x, use_reentrant=reentrant))

    qmodel = qat.prepare(Net(), X)
    with qat.taps(qmodel, ["stem.relu"]) as values:
        out = qmodel(X.clone().requires_grad_())
    loss = out.square().mean()
    if not reentrant:  # a reentrant part runs without history, and so do its taps
        loss = loss + values["stem.relu"].square().mean()
    loss.backward()
    assert qmodel.model.stem[0].weight.grad is not None


def test_an_unknown_site_is_named_with_the_nearest() -> None:
    qmodel = trained(small())
    with (
        pytest.raises(qat.Error, match="taps: there is no site 'rleu'; did you mean 'relu'?"),
        qat.taps(qmodel, ["rleu"]),
    ):
        qmodel(X)
    with (
        pytest.raises(
            qat.Error, match="there is no site '0.input'; sites.. lists '0', '1', 'relu'"
        ),
        qat.taps(qmodel, ["0.input"]),
    ):
        qmodel(X)
    with pytest.raises(qat.Error, match=r"expected a list of names, got a string; pass \['relu'\]"):
        qat.taps(qmodel, "relu").__enter__()
    with pytest.raises(qat.Error, match="taps: expected a model made by prepare"):
        qat.taps(nn.Linear(2, 2), []).__enter__()


def test_a_student_learns_from_a_float_teacher() -> None:
    """From other weights, the distance shrinks in logits and in features; the model converts."""
    teacher = qat.prepare(small().eval(), X)
    teacher.phase = "floating"
    with torch.no_grad(), qat.taps(teacher, ["relu"]) as wanted:
        soft = teacher(X)
    qmodel = qat.prepare(small(), X, {"weights": {"bits": 4}})
    optimizer = torch.optim.Adam(qmodel.parameters(), 0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with qat.taps(qmodel, ["relu"]) as values:
            logits = qmodel(X)
        loss = qat.distillation_loss(logits, soft, soft.argmax(1), weight=1.0)
        loss = loss + qat.feature_loss(values["relu"], wanted["relu"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert_converts(qmodel.eval())
