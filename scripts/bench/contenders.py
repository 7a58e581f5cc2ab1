"""The models that train_step.py compares: one training module per row of its tables."""

import importlib.util
import warnings
from typing import cast

import torch
from models import torchvision_models
from torch import nn

BASE = "fp32 channels-last"  # what the ratios refer to
NUMERICS = {
    "qat_ext": {},
    "qat_ext int16": {"backward": "int16"},
    "qat_ext bfloat16": {"backward": "bfloat16"},
    "qat_ext float16 saved": {"save": "float16"},
    "qat_ext int16 recompute": {"backward": "int16", "save": "recompute"},
    "qat_ext float32 forward": {"forward": "float32"},
    "qat_ext separate passes": {"fused": False},
    "qat_ext lsq": {},
}
METHODS = {"qat_ext lsq": {"activations": {"method": "lsq"}, "weights": {"method": "lsq"}}}
PEERS = ("fp32", BASE, "bf16 autocast", "torch.compile", "torch.ao", "torchao pt2e")
VARIANTS = (*PEERS, *NUMERICS)
MODELS = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vit_small",
)
# The largest error of the first logits against float32's, by norm. Quantization noise of random
# weights is anything up to the logits themselves (MobileNetV3), so that the loss has to do.
TOLERANCE = {"fp32": 1e-3, BASE: 1e-3, "torch.compile": 1e-3, "bf16 autocast": 0.5}
LOSS_TOLERANCE = 0.1


class Missing(Exception):
    """A row that cannot be measured here, and why."""


def is_ours(variant: str) -> bool:
    """Whether the row is this library's."""
    return variant in NUMERICS


def without_dropout(model: nn.Module) -> nn.Module:
    """Rows are compared by their logits, so nothing may be drawn at random."""
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.p = 0.0
    return model


def float_model(name: str, size: int) -> nn.Module:
    """The float32 model, always with the same weights; contiguous."""
    models = torchvision_models()
    torch.manual_seed(0)
    if name != "vit_small":
        return without_dropout(cast(nn.Module, getattr(models, name)()))
    model = models.VisionTransformer(
        image_size=size, patch_size=16, num_layers=6, num_heads=6, hidden_dim=384, mlp_dim=1536
    )
    nn.init.normal_(model.heads.head.weight, std=0.05)  # torchvision starts it at zero
    return cast(nn.Module, model)


def torch_ao(name: str) -> nn.Module:
    """torch.ao's eager mode with fused modules, for models that were rewritten for it."""
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    quantization = torchvision_models().quantization
    if not hasattr(quantization, name):
        raise Missing("torchvision has no rewritten model")
    torch.manual_seed(0)
    model = getattr(quantization, name)(quantize=False).train()
    model.fuse_model(is_qat=True)
    model.qconfig = get_default_qat_qconfig("x86")
    prepare_qat(model, inplace=True)
    return without_dropout(model.to(memory_format=torch.channels_last))


def torchao_pt2e(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """torchao's export mode with its quantizer for x86."""
    if importlib.util.find_spec("torchao") is None:
        raise Missing("torchao is not installed (pip install torchao)")
    from torchao.quantization.pt2e import move_exported_model_to_train
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    exported = torch.export.export(model, (example,), strict=True).module()
    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config(is_qat=True))
    prepared = prepare_qat_pt2e(exported, quantizer)
    return cast(nn.Module, move_exported_model_to_train(prepared))


def build(variant: str, name: str, example: torch.Tensor) -> nn.Module:
    """The row's module, ready to train. Raises :class:`Missing` with the reason."""
    if variant == "torch.ao":
        return torch_ao(name)
    model = float_model(name, example.shape[-1])
    if variant == "fp32":
        return model.train()
    model = model.to(memory_format=torch.channels_last).train()
    if variant == "torchao pt2e":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torchao_pt2e(model, example)
    if variant == "torch.compile":
        return cast(nn.Module, torch.compile(model))
    if not is_ours(variant):
        return model
    import qat_ext as qat

    recipe = {"numerics": NUMERICS[variant]} | METHODS.get(variant, {})
    return qat.prepare(model, example, recipe=recipe).train()
