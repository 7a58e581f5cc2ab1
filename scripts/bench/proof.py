"""What must hold before a row is timed: its logits, and in which arithmetic its layers ran."""

import collections
import copy
import math

import torch
from contenders import LOSS_TOLERANCE, NUMERICS, TOLERANCE
from torch import nn
from torch.profiler import ProfilerActivity, profile

# Everything in which a float convolution or linear layer ends, also the exact float64 ones that the
# integer operators fall back on.
FLOAT_LAYERS = (
    "aten::convolution",
    "aten::_convolution",
    "aten::mkldnn_convolution",
    "aten::addmm",
    "aten::mkldnn_linear",
)
INTEGER_LAYERS = ("qat_ext::conv_int", "qat_ext::linear_int")


class Invalid(Exception):
    """A row that does not compute what it should."""


def operator_counts(model: nn.Module, inputs: torch.Tensor) -> collections.Counter[str]:
    """How often one forward calls each operator."""
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        model(inputs)
    events = profiled.key_averages()
    return collections.Counter({event.key: event.count for event in events})


def check_loss(
    variant: str,
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    float_logits: torch.Tensor,
) -> float:
    """The relative error of the first training logits. Raises :class:`Invalid` where it, or the
    loss, is too far from float32's, or where a gradient is missing or not finite."""
    narrow = variant == "bf16 autocast"
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    error = float((logits.detach().float() - float_logits).norm() / float_logits.norm())
    if not error <= TOLERANCE.get(variant, math.inf):
        raise Invalid(f"{variant}: logits differ by {error:.3g} of float32's norm")
    expected = float(nn.functional.cross_entropy(float_logits, labels))
    if not abs(float(loss.detach()) - expected) <= LOSS_TOLERANCE * expected:
        raise Invalid(f"{variant}: loss {float(loss.detach())}, in float32 {expected}")
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not bool(parameter.grad.isfinite().all()):
            raise Invalid(f"{variant}: no finite gradient of {name}")
    model.zero_grad(set_to_none=True)
    return error


def check_integers(variant: str, model: nn.Module, float_model: nn.Module,
                   inputs: torch.Tensor) -> dict[str, object]:  # fmt: skip
    """Counts that prove the forward's integer layers. Raises :class:`Invalid`.

    In training every layer of the float model runs as an integer one and none in float, unless the
    row is asked to; the converted model gives the bits of eval().
    """
    import qat_ext as qat

    in_float = operator_counts(copy.deepcopy(float_model).train(), inputs)
    layers = in_float["aten::conv2d"] + in_float["aten::linear"]
    copied = copy.deepcopy(model)
    found = operator_counts(copied.train(), inputs)
    integer = sum(found[name] for name in INTEGER_LAYERS)
    rest = {name: found[name] for name in FLOAT_LAYERS if found[name]}
    in_integers = NUMERICS[variant].get("forward") != "float32"
    if in_integers and (integer != layers or rest):
        raise Invalid(f"{integer} of {layers} layers ran in integers; float ones: {rest or 'none'}")
    int8 = qat.convert(copied.eval())
    with torch.no_grad():
        expected = copied(inputs)
        differing = int((expected != int8(inputs)).sum())
    if differing or not math.isfinite(float(expected.sum())):
        raise Invalid(f"{differing} of {expected.numel()} logits differ from the integer model's")
    return {
        "layers": layers,
        "integer_layers": integer,
        "integer_fraction": round(int8.integer_fraction(), 4),
        "logits": expected.numel(),
        "differing_logits": differing,
    }
