"""What a forward cannot run is refused by name, with what to do."""

import warnings

import pytest
import qat_ext as qat
import torch
from torch import nn


def ready(model, x):
    qmodel = qat.prepare(model, x)
    with qat.calibrate(qmodel), torch.no_grad():
        qmodel(x)
    return qmodel


def images():
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)]
    return nn.Sequential(*layers), torch.randn(4, 1, 4, 4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((4, 3, 4, 4), r"^forward: '0' \(conv2d\): conv_int: codes: expected 1 channels, as the "),
        ((4, 1, 5, 5), r"^forward: '4' \(linear\): linear_int: codes: expected a last axis of 16"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_inputs_of_another_shape(sizes, message, training):
    model, x = images()
    qmodel = ready(model, x).train(training)
    with pytest.raises(qat.Error, match=message) as caught:
        qmodel(torch.randn(sizes))
    assert "frame #" not in str(caught.value)


def test_errors_of_the_models_own_operators_stay():
    """An operator that the plan leaves in float, and the Python code."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.far = nn.Linear(4, 4), False

        def forward(self, x):
            return self.layer(x).gather(1, torch.full((2, 1), 9 if self.far else 0))

    model = Net()
    qmodel = ready(model, torch.randn(2, 4))
    model.far = True
    with pytest.raises(RuntimeError, match="^index 9 is out of bounds") as caught:
        qmodel(torch.randn(2, 4))
    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_prepared_model_that_was_cast(dtype):
    model, x = images()
    qmodel = ready(model, x).to(dtype)
    message = f"parameter '0.weight' is {str(dtype)[6:]}, and a prepared model trains in float32; "
    with pytest.raises(qat.Error, match=message + r"call float\(\) on it"):
        qmodel(x.to(dtype))
    qmodel.float()(x).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_of_another_type_is_named(dtype):
    model, x = images()
    message = f"prepare: the parameter '0.weight' is {str(dtype)[6:]}, and a prepared model "
    with pytest.raises(qat.Error, match=message + r"trains in float32; call model\.float\(\)"):
        qat.prepare(model.to(dtype), x.to(dtype))


def test_training_on_a_way_that_is_not_planned_is_mentioned():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.a(x) if x.detach().sum() > 0 else self.b(x)

    x = torch.ones(2, 4)
    qmodel = ready(Net(), x)
    with pytest.warns(
        UserWarning, match="parameter 'b.weight' is not in the plan and trains in fl"
    ):
        qmodel(-x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qmodel(x)
    with (
        pytest.warns(UserWarning, match="came out false, but true with the example inputs"),
        pytest.raises(qat.Error, match="the first example of prepare.. did not take, and a prepar"),
    ):
        qmodel.eval()(-x)


@pytest.mark.parametrize(
    "transformed",
    [
        lambda q, x: torch.func.grad(lambda x: q(x).sum())(x),
        lambda q, x: torch.func.jvp(q, (x,), (x,)),
        lambda q, x: torch.func.vmap(q)(x[:, None]),
        lambda q, x: torch.func.grad(lambda p: torch.func.functional_call(q, p, (x,)).sum())(
            dict(q.named_parameters())
        ),
    ],
)
def test_transforms_of_functions(transformed):
    model, x = images()
    qmodel = ready(model, x)
    with pytest.raises(qat.Error, match=r"transforms of torch\.func \(grad, jvp, vmap and those "):
        transformed(qmodel, x)
    qmodel(x).sum().backward()


def test_export():
    model, x = images()
    qmodel = ready(model, x).eval()
    with pytest.raises(qat.Error, match=r"torch\.export cannot trace a prepared model; export the"):
        torch.export.export(qmodel, (x,))


@pytest.mark.parametrize("fraction", ["1", None, [0.5]])
def test_step_takes_a_number(fraction):
    model, x = images()
    with pytest.raises(qat.Error, match="^step: fraction: expected a number from 0 to 1, got "):
        qat.step(qat.prepare(model, x), fraction)


class Guarded(nn.Module):
    """Waits for what goes wrong inside, and ends in its own way."""

    def __init__(self, fails, awaited, then):
        super().__init__()
        self.layer, self.active = nn.Linear(4, 4), False
        self.fails, self.awaited, self.then = fails, awaited, then

    def forward(self, x):
        y = torch.relu(self.layer(x))
        if self.active:
            try:
                self.fails(self, x, y)
            except self.awaited:
                raise self.then from None
        return y.mean(1)


@pytest.mark.parametrize("then", [KeyboardInterrupt("stop"), KeyError("own")])
@pytest.mark.parametrize(
    ("fails", "awaited"),
    [
        (lambda model, x, y: model.layer(x[:, :2]), RuntimeError),
        (lambda model, x, y: y.mean(9), IndexError),
    ],
)
def test_a_model_may_wait_for_errors_and_end_otherwise(fails, awaited, then):
    model, x = Guarded(fails, awaited, then), torch.randn(2, 4)
    qmodel = ready(model, x).eval()
    model.active = True
    with pytest.raises(type(then), match=str(then.args[0])):
        qmodel(x)
