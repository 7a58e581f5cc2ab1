"""Small networks for the equality tests. Every one is ordinary torch.nn code."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Made = tuple[nn.Module, Any]


def conv_bn(inputs: int, outputs: int, size: int = 3, **keywords: Any) -> nn.Sequential:
    """conv, batch norm with statistics that are not the initial ones, ReLU in place."""
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **keywords)
    norm = nn.BatchNorm2d(outputs)
    with torch.no_grad():
        norm.weight.uniform_(-1.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 2)
    return nn.Sequential(conv, norm, nn.ReLU(inplace=True))


class Residual(nn.Module):
    """A ResNet's ways: residual adds with and without a layer on the short way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.left = nn.Sequential(conv_bn(8, 8), conv_bn(8, 16)[:2])
        self.right = conv_bn(8, 16, 1)[:2]
        self.body = conv_bn(16, 16)[:2]
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(x))
        x = F.relu(self.left(x) + self.right(x))
        x = F.relu(x + self.body(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Inverted(nn.Module):
    """A MobileNet's: depthwise layers, hardswish, squeeze-and-excite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.widen = nn.Sequential(*conv_bn(8, 24, 1)[:2], nn.Hardswish(inplace=True))
        self.depthwise = nn.Sequential(*conv_bn(24, 24, 3, groups=24)[:2], nn.ReLU6())
        self.squeeze = nn.Conv2d(24, 6, 1)
        self.excite = nn.Conv2d(6, 24, 1)
        self.narrow = conv_bn(24, 8, 1)[:2]
        self.head = nn.Sequential(nn.Linear(8, 16), nn.Hardswish(), nn.Dropout(0), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.depthwise(self.widen(x))
        s = F.adaptive_avg_pool2d(y, 1)
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(s))))
        return self.head((x + self.narrow(y)).mean((2, 3)))


class Dense(nn.Module):
    """A DenseNet's: batch norm before the layers, concatenations with shared readers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.head = nn.Linear(20, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return self.head(F.avg_pool2d(torch.cat(features, 1), 2).mean((2, 3)))


class Mixed(nn.Module):
    """A convolutional stem, one block of attention, and a multilayer head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        weights = torch.softmax(q @ k.transpose(1, 2) * 0.25, -1)
        x = x + self.out(weights @ v)
        return self.head((x + self.mlp(x)).mean(1))


class Decoder(nn.Module):
    """A U-Net's: a short cut over a transposed convolution and an upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.down = conv_bn(3, 8)
        self.deep = conv_bn(8, 12, stride=2)
        self.up = nn.ConvTranspose2d(12, 8, 2, 2)
        self.join = conv_bn(16, 8)
        self.coarse = nn.Conv2d(8, 8, 3, 2, 1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.down(x)
        y = self.join(torch.cat([a, self.up(self.deep(a))], 1))
        return self.last(y + F.interpolate(self.coarse(y), scale_factor=2, mode="nearest"))


class Branches(nn.Module):
    """An Inception's: branches of different ranges that meet, one of them pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.narrow = conv_bn(8, 6, 1)
        self.wide = nn.Sequential(conv_bn(8, 4, 1), conv_bn(4, 8, 3))
        self.pooled = conv_bn(8, 5, 1)
        self.last = conv_bn(27, 12)
        self.head = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        pooled = self.pooled(F.avg_pool2d(x, 3, 1, 1))
        y = torch.cat([self.narrow(x), self.wide(x), pooled, F.max_pool2d(x, 3, 1, 1)], 1)
        return self.head(self.last(y).mean((2, 3)))


def perceptron() -> Made:
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(),
                          nn.Linear(16, 16, bias=False), nn.SiLU(), nn.Linear(16, 4))  # fmt: skip
    return model, torch.randn(6, 12)


SMALL: dict[str, Callable[[], Made]] = {
    "perceptron": perceptron,
    "residual": lambda: (Residual(), torch.randn(4, 3, 16, 16)),
    "inverted": lambda: (Inverted(), torch.randn(4, 3, 16, 16)),
    "dense": lambda: (Dense(), torch.randn(4, 3, 8, 8)),
    "branches": lambda: (Branches(), torch.randn(4, 3, 16, 16)),
    "mixed": lambda: (Mixed(), torch.randn(4, 3, 16, 16)),
    "decoder": lambda: (Decoder(), torch.randn(3, 3, 8, 12)),
}


def vision(name: str, size: int, **keywords: Any) -> Made:
    """A torchvision model without dropout and stochastic depth, so that train() is a function."""
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=10, **keywords)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return model, torch.randn(3, 3, size, size)


def vit() -> Made:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, std=0.1)  # torchvision starts it at zero
    return model, torch.randn(3, 3, 32, 32)


def bert() -> Made:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    mask = torch.ones(3, 8, dtype=torch.long)
    mask[0, 5:] = 0
    mask[2, 3:] = 0
    return BertModel(config), {"input_ids": torch.randint(0, 50, (3, 8)), "attention_mask": mask}


LARGE: dict[str, Callable[[], Made]] = {
    "resnet18": lambda: vision("resnet18", 32),
    "mobilenet_v2": lambda: vision("mobilenet_v2", 32),
    "mobilenet_v3_small": lambda: vision("mobilenet_v3_small", 32),
    "densenet121": lambda: vision("densenet121", 32),
    "efficientnet_b0": lambda: vision("efficientnet_b0", 32),
    "shufflenet": lambda: vision("shufflenet_v2_x0_5", 32),
    "vit": vit,
    "bert": bert,
}
