"""The job's ResNet for PyTorch, with the names of its parameters, in the peers' layers."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.ao.nn.quantized import FloatFunctional

Part = Callable[[], nn.Module]


class AddReLU(nn.Module):
    """relu(a + b), as torch.ao can swap it."""

    def __init__(self) -> None:
        super().__init__()
        self.functional = FloatFunctional()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.functional.add_relu(a, b)
        return out


class AddThen(nn.Module):
    """An activation of a + b."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.activation(a + b)
        return out


@dataclass(frozen=True)
class Kit:
    """What the model is made of: a convolution takes (in, out, kernel, stride)."""

    conv: Callable[[int, int, int, int], nn.Module]
    linear: Callable[[int, int], nn.Module]
    first: Callable[[int, int, int, int], nn.Module]
    relu: Part = nn.ReLU
    join: Part = AddReLU
    enter: Part = nn.Identity
    before_linear: Part = nn.Identity
    leave: Part = nn.Identity


def float_conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    """A convolution without bias that keeps the size, but for the stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


FLOAT = Kit(conv=float_conv, linear=nn.Linear, first=float_conv)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, kit: Kit, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = kit.conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = kit.relu()
        self.conv2 = kit.conv(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.join = kit.join()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shortcut = kit.conv(inputs, outputs, 1, stride)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        out: torch.Tensor = self.join(self.bn2(self.conv2(y)), self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Depth 8, width 16: one block in each of three stages. x: float32 [B, 1, 28, 28]."""

    def __init__(self, kit: Kit = FLOAT) -> None:
        super().__init__()
        self.enter = kit.enter()
        self.conv1 = kit.first(1, 16, 3, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = kit.relu()
        self.layer1 = nn.Sequential(BasicBlock(kit, 16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(kit, 16, 32, 2))
        self.layer3 = nn.Sequential(BasicBlock(kit, 32, 64, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.before_linear = kit.before_linear()
        self.fc = kit.linear(64, 10)
        self.leave = kit.leave()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.bn1(self.conv1(self.enter(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.before_linear(self.avgpool(x)).flatten(1)
        logits: torch.Tensor = self.leave(self.fc(x))
        return logits


def load_float(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Sets every tensor of the float model; a quantizer's own may be left as they are."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    names = dict(ResNet().state_dict())
    lost = [name for name in missing if name in names] + list(unexpected)
    if lost:
        raise ValueError(f"the float model and the peer's differ in {', '.join(lost)}")


def torch_ao(state: dict[str, torch.Tensor]) -> nn.Module:
    """torch.ao's eager mode for x86: fused modules, 8 bits, ready to train."""
    from torch.ao.quantization import (
        DeQuantStub,
        QuantStub,
        fuse_modules_qat,
        get_default_qat_qconfig,
        prepare_qat,
    )

    kit = Kit(float_conv, nn.Linear, float_conv, enter=QuantStub, leave=DeQuantStub)
    model = ResNet(kit).train()
    load_float(model, state)
    fused = [["conv1", "bn1", "relu1"]]
    for name, block in model.named_modules():
        if isinstance(block, BasicBlock):
            fused += [[f"{name}.conv1", f"{name}.bn1", f"{name}.relu1"]]
            fused += [[f"{name}.conv2", f"{name}.bn2"]]
            if isinstance(block.shortcut, nn.Sequential):
                fused += [[f"{name}.shortcut.0", f"{name}.shortcut.1"]]
    fuse_modules_qat(model, fused, inplace=True)
    model.qconfig = get_default_qat_qconfig("x86")
    prepare_qat(model, inplace=True)
    return model


def brevitas(state: dict[str, torch.Tensor]) -> nn.Module:
    """4 bits inside and 8 at both ends, all scales learned: per channel of a weight, per tensor of
    an activation, whose scale starts from the statistics of the first batches."""
    layers = importlib.import_module("brevitas.nn")
    quant = importlib.import_module("brevitas.quant")
    learned = importlib.import_module("brevitas.inject.enum").ScalingImplType.PARAMETER_FROM_STATS
    weights = {
        "weight_quant": quant.Int8WeightPerChannelFloat,
        "weight_scaling_impl_type": learned,
    }

    def conv(bits: int) -> Callable[[int, int, int, int], nn.Module]:
        def made(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
            layer: nn.Module = layers.QuantConv2d(
                inputs,
                outputs,
                kernel,
                stride=stride,
                padding=kernel // 2,
                bias=False,
                weight_bit_width=bits,
                **weights,
            )
            return layer

        return made

    def linear(inputs: int, outputs: int) -> nn.Module:
        layer: nn.Module = layers.QuantLinear(
            inputs, outputs, bias=True, weight_bit_width=8, **weights
        )
        return layer

    def quantizer(kind: str, act_quant: object, bits: int) -> nn.Module:
        layer: nn.Module = getattr(layers, kind)(act_quant=act_quant, bit_width=bits)
        return layer

    def relu() -> nn.Module:
        return quantizer("QuantReLU", quant.Uint8ActPerTensorFloat, 4)

    kit = Kit(
        conv=conv(4),
        first=conv(8),
        linear=linear,
        relu=relu,
        join=lambda: AddThen(relu()),
        enter=lambda: quantizer("QuantIdentity", quant.Int8ActPerTensorFloat, 8),
        before_linear=lambda: quantizer("QuantIdentity", quant.Uint8ActPerTensorFloat, 8),
    )
    model = ResNet(kit)
    load_float(model, state)
    return model.train()
