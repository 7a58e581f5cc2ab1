"""Bit equality and gradients of layers and their batch norm, one property at a time."""

import subprocess
import sys

import pytest
import torch
from equality import check_with_gradients
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

IMAGE = (4, 4, 9, 7)


def with_norm(norm, conv=None):
    """conv, norm, ReLU, and a second layer that wants codes."""
    conv = nn.Conv2d(4, 6, 3, bias=False) if conv is None else conv
    return nn.Sequential(conv, norm, nn.ReLU(), nn.Conv2d(norm.num_features, 2, 1))


def weights(model, index=0):
    return list(model)[index].weight


def test_gamma_zero_and_negative(tmp_path):
    model = with_norm(nn.BatchNorm2d(6))
    with torch.no_grad():
        weights(model, 1).copy_(torch.tensor([0.0, -1.0, 1.0, 0.0, -2.0, 0.5]))
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path, rate=0.0)
    multiplier = result.file.tensors["0.multiplier"]
    assert (multiplier == 0).tolist() == [True, False, False, True, False, False]
    assert (multiplier < 0).tolist() == [False, True, False, False, True, False]


def test_gamma_zero_trains(tmp_path):
    model = with_norm(nn.BatchNorm2d(6))
    nn.init.zeros_(weights(model, 1))
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path)
    assert result.gradients["model.1.weight"].isfinite().all()


NORMS = {
    "eps": lambda: nn.BatchNorm2d(6, eps=1e-3),
    "momentum_none": lambda: nn.BatchNorm2d(6, momentum=None),
    "momentum_half": lambda: nn.BatchNorm2d(6, momentum=0.5),
    "not_affine": lambda: nn.BatchNorm2d(6, affine=False),
}


@pytest.mark.parametrize("norm", NORMS)
def test_batch_norm_folds(norm, tmp_path):
    x = torch.randn(IMAGE)
    model = with_norm(NORMS[norm]())
    result = check_with_gradients(model, x, "int8", tmp_path, others=(x[:1], x[:3]))
    assert not result.operators & {"affine", "aten"}


def test_batch_norm_keeps_its_statistics_like_torch():
    """Running statistics of codes that represent x and w exactly are those of the float model."""
    x = torch.randint(-8, 8, IMAGE).float() / 8
    x.view(-1)[:2] = torch.tensor([-16.0, 15.875])  # 0.125 is the scale of 8 bits
    model = with_norm(nn.BatchNorm2d(6))
    with torch.no_grad():
        weights(model).copy_(torch.randint(-127, 128, weights(model).shape) / 64)
        weights(model)[:, 0, 0, 0] = 127 / 64
    plain = nn.BatchNorm2d(6)
    plain(model[0](x))
    check_with_gradients(model, x, batches=(x,))
    # Both sum 4·7·5 = 140 numbers; each order errs by at most 140·2^-24 of the sum of magnitudes,
    # which is at most about the standard deviation (mean) or the variance itself.
    norm = model[1]
    bound = 2 * 140 * 2.0**-24
    scale = plain.running_var.sqrt()
    assert ((norm.running_mean - plain.running_mean).abs() <= bound * scale).all()
    torch.testing.assert_close(norm.running_var, plain.running_var, rtol=4 * bound, atol=0)


def test_batch_norm_in_eval_inside_a_training_model(tmp_path):
    model = with_norm(nn.BatchNorm2d(6))
    model[1].eval()
    before = model[1].running_mean.clone()
    check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path)
    assert torch.equal(model[1].running_mean, before)


def test_batch_norm_without_statistics_is_an_island(tmp_path):
    model = with_norm(nn.BatchNorm2d(6, track_running_stats=False))
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path)
    assert "aten" in result.operators


def test_batch_norm_before_the_layer_and_twice(tmp_path):
    model = nn.Sequential(
        nn.Conv2d(4, 6, 1), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU(), nn.BatchNorm2d(6),
        nn.Conv2d(6, 4, 3),
    )  # fmt: skip
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path)
    assert "affine" in result.operators


def test_batch_norm_behind_linear(tmp_path):
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    result = check_with_gradients(model, torch.randn(6, 5), "int8", tmp_path)
    assert "affine" not in result.operators


CONVS = {
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1),
    "dilated": lambda: nn.Conv2d(4, 6, 3, dilation=(2, 3), padding=(1, 2)),
    "strided": lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=1),
    "same": lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "reflect": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1),
    "transposed_grouped": lambda: nn.ConvTranspose2d(
        4, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2, dilation=(1, 2)
    ),
}


@pytest.mark.parametrize("recipe", ["int8", "int8-symmetric"])
@pytest.mark.parametrize("conv", CONVS)
def test_conv2d(conv, recipe, tmp_path):
    made = CONVS[conv]()
    model = with_norm(nn.BatchNorm2d(made.out_channels), made)
    x = torch.randn(IMAGE) + 0.5
    check_with_gradients(model, x, recipe, tmp_path, others=(x[:1],))


def test_same_padding_of_an_even_kernel_stays_float(tmp_path):
    """It pads more behind than before, which is no attribute of the conv node."""
    model = with_norm(nn.BatchNorm2d(6), nn.Conv2d(4, 6, (2, 4), padding="same"))
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path, fraction=0.0)
    assert [op for _, op in result.int8.nodes()].count("conv") == 1


RANKS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, 2, groups=2), (3, 4, 11)),
    "conv3d": (lambda: nn.Conv3d(4, 6, (1, 3, 2), (1, 2, 1), (0, 1, 1)), (3, 4, 3, 5, 4)),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 4, 3, 1, 2, groups=2), (3, 4, 5)),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(4, 6, 2, 2, 0, 1, groups=2), (3, 4, 2, 3, 2)),
}


@pytest.mark.parametrize("rank", RANKS)
def test_other_ranks(rank, tmp_path):
    make, shape = RANKS[rank]
    norm = nn.BatchNorm1d if len(shape) == 3 else nn.BatchNorm3d
    model = nn.Sequential(make(), norm(6), nn.ReLU6(), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(shape)
    model(x)
    check_with_gradients(model, x, "int8", tmp_path, others=(x[:2],))


def test_batch_of_one_and_a_smaller_last_batch(tmp_path):
    x = torch.randn(IMAGE)
    check_with_gradients(with_norm(nn.BatchNorm2d(6)), x[:1], "int8", tmp_path, others=(x,))
    batches = (x, x[:3], x[:1])
    check_with_gradients(with_norm(nn.BatchNorm2d(6)), x, "int8", tmp_path, batches=batches)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_zero_channel_and_a_zero_layer(bits, tmp_path):
    model = with_norm(nn.BatchNorm2d(6))
    with torch.no_grad():
        weights(model)[2].zero_()
        weights(model, 3).zero_()
    recipe = {"weights": {"bits": bits}}
    result = check_with_gradients(model, torch.randn(IMAGE), recipe, tmp_path, rate=0.0)
    weight = next(w for i, w in result.file.weights.items() if result.file.nodes[i].name == "0")
    assert not weight[2].any() and weight[1].any()


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_constant_input(value, tmp_path):
    x = torch.full(IMAGE, value)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    check_with_gradients(model, x, "int8", tmp_path, others=(torch.randn(IMAGE),))


def test_weight_norm(tmp_path):
    model = nn.Sequential(
        weight_norm(nn.Conv2d(4, 6, 3)), nn.ReLU(), nn.Flatten(), weight_norm(nn.Linear(210, 3))
    )
    result = check_with_gradients(model, torch.randn(IMAGE), "int8", tmp_path)
    assert any("original0" in name for name in result.gradients)


def test_linear_on_three_axes_and_matmul_with_a_parameter(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(5, 6)
            self.matrix = nn.Parameter(torch.randn(6, 4))

        def forward(self, x):
            return torch.relu(self.first(x)) @ self.matrix

    x = torch.randn(3, 7, 5)
    result = check_with_gradients(Net(), x, "int8", tmp_path, others=(x[:2],))
    assert [op for _, op in result.int8.nodes()].count("linear") == 2


def test_channels_last(tmp_path):
    x = torch.randn(IMAGE)
    model = with_norm(nn.BatchNorm2d(6)).to(memory_format=torch.channels_last)
    other = x.to(memory_format=torch.channels_last)
    check_with_gradients(model, other, "int8", tmp_path, others=(x, other[:2]))


def test_one_by_one_with_a_stride():
    """In a process of its own: the failure is a crash."""
    program = (
        "import torch, qat_ext as qat\n"
        "from torch import nn\n"
        "model = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1, 2))\n"
        "x = torch.randn(3, 4, 10, 8)\n"
        "qmodel = qat.prepare(model, x)\n"
        "for _ in range(30): qmodel(x).sum().backward()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=100)
    assert result.returncode == 0
