"""A small ResNet on Fashion-MNIST: float training, QAT, int8 file, proof. The main job in Python.

usage: python examples/python_train.py [--limit IMAGES] [--epochs N] [--output model.safetensors]
"""

import argparse
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import qat_ext as qat
import torch
from torch import Tensor, nn
from torch.nn import functional as F

DATA = Path("/usr/share/datasets/fashion-mnist")
BATCH = 128


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class ResNet8(nn.Module):
    """One block of 16, 32 and 64 channels each; 78 k parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layers = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x)), inplace=True))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def read_idx(name: str, header: int) -> np.ndarray:
    path = DATA / f"{name}.gz"
    if not path.exists():
        raise SystemExit(f"{path}: not found; install the Debian package dataset-fashion-mnist")
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def load(split: str, limit: int | None) -> tuple[Tensor, Tensor]:
    """Normalised images float32 [N, 1, 28, 28] and labels int64 [N]."""
    pixels = read_idx(f"{split}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)[:limit]
    labels = read_idx(f"{split}-labels-idx1-ubyte", 8)[:limit]
    images = torch.from_numpy(pixels.astype(np.float32) / 255)
    return (images - 0.2860) / 0.3530, torch.from_numpy(labels.astype(np.int64))


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    epochs: int,
    rate: float,
    step: Callable[[float], None] = lambda fraction: None,
) -> None:
    """One-cycle SGD; `step` hears which fraction of the training is done."""
    images, labels = data
    per_epoch = max(1, len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * per_epoch + 1)
    model.train()
    for index in range(epochs * per_epoch):
        if index % per_epoch == 0:
            order = torch.randperm(len(images))
        rows = order[index % per_epoch * BATCH :][:BATCH]
        optimizer.zero_grad()
        F.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
        step((index + 1) / (epochs * per_epoch))


def batches(images: Tensor) -> Iterator[Tensor]:
    return iter(images.split(500))


@torch.no_grad()
def accuracy(model: Callable[[Tensor], Tensor], data: tuple[Tensor, Tensor]) -> float:
    predicted = torch.cat([model(batch).argmax(1) for batch in batches(data[0])])
    return (predicted == data[1]).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--limit", type=int, help="training and test images to use")
    parser.add_argument("--epochs", type=int, default=5, help="of float training; QAT takes 2")
    parser.add_argument("--output", type=Path, default=Path("model.safetensors"))
    options = parser.parse_args()
    torch.manual_seed(1)
    data, test = load("train", options.limit), load("t10k", options.limit)

    model = ResNet8()
    train(model, data, options.epochs, 0.2)
    float_accuracy = accuracy(model.eval(), test)
    float_bytes = sum(4 * tensor.numel() for tensor in model.state_dict().values())

    qmodel = qat.prepare(model, data[0][:8], recipe="int8")
    with qat.calibrate(qmodel), torch.no_grad():
        qmodel(data[0][:1024])
    train(qmodel, data, 2, 0.01, lambda fraction: qat.step(qmodel, fraction))

    qat.convert(qmodel.eval()).save(options.output)
    int8 = qat.load(options.output)
    int8_accuracy = accuracy(int8, test)
    report = qat.verify(qmodel, int8, batches(test[0]))
    print(
        f"float_accuracy={float_accuracy:.4f} int8_accuracy={int8_accuracy:.4f} "
        f"differing_logits={report.differing}/{report.logits} "
        f"size_ratio={options.output.stat().st_size / float_bytes:.4f}"
    )
    if not report.equal:
        raise SystemExit(f"verify: first difference at {report.first_difference}")


if __name__ == "__main__":
    main()
