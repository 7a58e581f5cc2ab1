"""Fashion-MNIST for the peers: the batches that `qat train` draws, to the last pixel."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from method_rows import Budget

FOLDER = Path("/usr/share/datasets/fashion-mnist")
MASK = (1 << 64) - 1
TEST_BATCH = 250


@dataclass
class Split:
    """Bytes [N, 1, 28, 28] and classes [N]."""

    images: torch.Tensor
    targets: torch.Tensor

    def rows(self, index: torch.Tensor) -> "Split":
        """Some of the rows."""
        return Split(self.images[index], self.targets[index])


def read(stem: str, limit: int) -> Split:
    """One split of the Debian package dataset-fashion-mnist; `limit` 0: all rows."""
    parts = []
    for name, offset in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(FOLDER / f"{stem}-{name}-ubyte.gz") as file:
            parts.append(np.frombuffer(file.read(), np.uint8, offset=offset).copy())
    count = min(limit or len(parts[1]), len(parts[1]))
    images = torch.from_numpy(parts[0]).view(-1, 1, 28, 28)[:count]
    return Split(images, torch.from_numpy(parts[1])[:count].long())


def mix(value: int) -> int:
    """SplitMix64's finaliser on unsigned 64-bit numbers."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def stream(seed: int, epoch: int, index: int) -> torch.Generator:
    """Random numbers of one batch, or with index -1 of an epoch's order."""
    key = mix((mix((seed + mix(epoch & MASK)) & MASK) + index) & MASK)
    return torch.Generator().manual_seed(key)


def augment(
    images: torch.Tensor, flip: bool, shift: int, generator: torch.Generator
) -> torch.Tensor:
    """Mirrors every second image or so and moves all by up to `shift` pixels, zeros coming in."""
    batch, _, height, width = images.shape
    dy = torch.randint(0, 2 * shift + 1, (batch, 1), generator=generator)
    dx = torch.randint(0, 2 * shift + 1, (batch, 1), generator=generator)
    ys = torch.arange(height).unsqueeze(0) + dy
    xs = torch.arange(width).unsqueeze(0).expand(batch, width)
    if flip:
        mirrored = torch.randint(0, 2, (batch, 1), generator=generator).bool()
        xs = torch.where(mirrored, xs.flip(1), xs)
    xs = xs + dx
    padded = torch.nn.functional.pad(images, (shift, shift, shift, shift)).permute(0, 2, 3, 1)
    rows = torch.arange(batch).view(batch, 1, 1)
    picked = padded[rows, ys.view(batch, height, 1), xs.view(batch, 1, width)]
    return picked.permute(0, 3, 1, 2).contiguous()


class FashionMnist:
    """Training, validation and test rows of one seed, normalised by the rows to train on."""

    def __init__(self, seed: int, budget: Budget) -> None:
        self.seed, self.budget = seed, budget
        whole = read("train", budget.limit)
        self.test = read("t10k", budget.limit)
        count = len(whole.targets)
        held = max(1, min(count // 12, 5000))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        self.validation = whole.rows(order[:held].sort().values)
        self.train = whole.rows(order[held:].sort().values)
        values = self.train.images.double() / 255.0
        mean, std = values.mean().item(), values.std(correction=0).item()
        self.factor = torch.tensor(1.0 / (255.0 * std))
        self.offset = torch.tensor(-mean / std)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """What the model sees."""
        return images.float() * self.factor + self.offset

    def steps(self) -> int:
        """Batches per epoch; one that is not full is left out."""
        return len(self.train.targets) // self.budget.batch

    def batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The training batches of one epoch, counted from 0."""
        size = self.budget.batch
        order = torch.randperm(len(self.train.targets), generator=stream(self.seed, epoch, -1))
        for index in range(self.steps()):
            part = self.train.rows(order[index * size : (index + 1) * size])
            generator = stream(self.seed, epoch, index)
            images = augment(part.images, self.budget.flip, self.budget.shift, generator)
            yield self.normalised(images), part.targets

    def in_order(self, split: Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All rows of a split as they are."""
        for images, targets in zip(split.images.split(TEST_BATCH), split.targets.split(TEST_BATCH)):
            yield self.normalised(images), targets
