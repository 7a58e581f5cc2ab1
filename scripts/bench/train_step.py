#!/usr/bin/env python3
"""One training step: float32, bfloat16 autocast, torch.ao's fused QAT and qat_ext, interleaved.

Validates first (qat_ext's int8 model equals its eval() bit for bit, every convolution and linear
layer ran in integers), then times all variants in turn in one process; the ratio is that of each
round to its float32 channels-last step. Memory is measured in a process of its own per variant.
The allocator keeps freed memory on all sides unless --default-allocator is given: with glibc's
defaults each step faults its activations in anew.

    scripts/bench/train_step.py --model resnet18 --batch 16 --size 112 --json out.json
"""

import argparse
import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from typing import cast

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from machine import keep_memory, machine
from models import torchvision_models
from torch import nn

VARIANTS = (
    "fp32",  # channels-last, what the ratios refer to
    "fp32 contiguous",
    "bf16 autocast",
    "torch.ao",
    "qat_ext",
    "qat_ext int16",
    "qat_ext float16 saved",
    "qat_ext int16 recompute",
)
NUMERICS = {
    "qat_ext": {},
    "qat_ext int16": {"backward": "int16"},
    "qat_ext float16 saved": {"save": "float16"},
    "qat_ext int16 recompute": {"backward": "int16", "save": "recompute"},
}
MODELS = (
    "resnet18",
    "mobilenet_v2",
    "resnet50",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vit_small",
)


def float_model(name: str, size: int) -> nn.Module:
    models = torchvision_models()
    torch.manual_seed(0)
    if name != "vit_small":
        return cast(nn.Module, getattr(models, name)())
    return models.VisionTransformer(
        image_size=size, patch_size=16, num_layers=6, num_heads=6, hidden_dim=384, mlp_dim=1536
    )


def has_torch_ao(name: str) -> bool:
    """torch.ao needs a model that was rewritten for it."""
    return hasattr(torchvision_models().quantization, name)


def build(variant: str, name: str, example: torch.Tensor) -> nn.Module:
    models = torchvision_models()
    torch.manual_seed(0)
    if variant == "torch.ao":
        from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

        model = getattr(models.quantization, name)(quantize=False).train()
        model.fuse_model(is_qat=True)
        model.qconfig = get_default_qat_qconfig("x86")
        prepare_qat(model, inplace=True)
        return model.to(memory_format=torch.channels_last)
    model = float_model(name, example.shape[-1])
    if variant == "fp32 contiguous":
        return model.train()
    model = model.to(memory_format=torch.channels_last)
    if not variant.startswith("qat_ext"):
        return model.train()
    import qat_ext as qat

    return qat.prepare(model, example, recipe={"numerics": NUMERICS[variant]}).train()


PHASES = ("forward", "backward", "optimizer")


def stepper(
    variant: str, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> Callable[[], list[float]]:
    """A training step that returns the seconds of its phases."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    narrow = variant == "bf16 autocast"
    if variant == "fp32 contiguous":
        inputs = inputs.contiguous()

    def step() -> list[float]:
        times = [time.perf_counter()]
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
            loss = nn.functional.cross_entropy(model(inputs), labels)
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        return [after - before for before, after in itertools.pairwise(times)]

    return step


def validate(model: nn.Module, inputs: torch.Tensor) -> None:
    import qat_ext as qat

    copied = copy.deepcopy(model).eval()
    int8 = qat.convert(copied)
    with torch.no_grad():
        differing = int((copied(inputs) != int8(inputs)).sum())
    fraction = int8.integer_fraction()
    if differing or fraction < 1.0:
        sys.exit(f"invalid: {differing} logits differ, integer fraction {fraction}")
    print(f"validated: 0 of {1000 * len(inputs)} logits differ, integer fraction {fraction}")


def data(arguments: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    inputs = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    labels = torch.randint(0, 1000, (arguments.batch,))
    return inputs.to(memory_format=torch.channels_last), labels


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MiB."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field}")


def measure_memory(arguments: argparse.Namespace) -> None:
    """Peak resident memory of the third step above what the process held before the model."""
    inputs, labels = data(arguments)
    before = resident("VmRSS")
    variant = arguments.memory_of
    step = stepper(variant, build(variant, arguments.model, inputs), inputs, labels)
    step(), step()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")
    step()
    peak_mib = resident("VmHWM") - before
    model = build(variant, arguments.model, inputs)
    print(json.dumps({"peak_mib": peak_mib, "saved_mib": saved_mib(variant, model, inputs)}))


class Packed:
    """What the graph holds instead of a saved tensor, as long as the node lives."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def saved_mib(variant: str, model: nn.Module, inputs: torch.Tensor) -> float:
    """Distinct memory that a forward keeps for backward, less parameters and inputs."""
    alive: weakref.WeakSet[Packed] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Packed:
        packed = Packed(tensor)
        alive.add(packed)
        return packed

    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=variant == "bf16 autocast"),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed.tensor),
    ):
        output = model(inputs)
    storages = [packed.tensor.untyped_storage() for packed in alive]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), inputs)}
    del output
    return sum(size for address, size in sizes.items() if address not in owned) / 2**20


def memory(variant: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--memory-of", variant, "--model", arguments.model]
    command += ["--batch", str(arguments.batch), "--size", str(arguments.size)]
    command += ["--threads", str(arguments.threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return {name: round(mib, 1) for name, mib in found.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18", choices=MODELS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--default-allocator", action="store_true")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if not arguments.default_allocator:
        keep_memory()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        measure_memory(arguments)
        return
    inputs, labels = data(arguments)
    variants = [
        variant
        for variant in VARIANTS
        if variant in ("fp32", *arguments.variants)
        and (variant != "torch.ao" or has_torch_ao(arguments.model))
    ]
    models = {variant: build(variant, arguments.model, inputs) for variant in variants}
    steps = {name: stepper(name, model, inputs, labels) for name, model in models.items()}
    for step in steps.values():
        step(), step(), step()
    for variant in variants:
        if variant.startswith("qat_ext"):
            validate(models[variant], inputs)
    times: dict[str, list[list[float]]] = {variant: [] for variant in variants}
    for _ in range(arguments.rounds):
        for variant, step in steps.items():
            times[variant].append(step())
    figures: dict[str, object] = {
        "model": arguments.model,
        "batch": arguments.batch,
        "size": arguments.size,
        "threads": arguments.threads,
        "allocator": "default" if arguments.default_allocator else "keeps memory",
    }
    figures |= machine()
    base = [sum(step) for step in times["fp32"]]
    for variant in variants:
        whole = [sum(step) for step in times[variant]]
        ratios = [own / float_step for own, float_step in zip(whole, base, strict=True)]
        phases = zip(PHASES, zip(*times[variant], strict=True), strict=True)
        figures[variant] = row = {
            "milliseconds": round(statistics.median(whole) * 1e3, 1),
            "ratio": round(statistics.median(ratios), 3),
        } | {phase: round(statistics.median(each) * 1e3, 1) for phase, each in phases}
        row |= memory(variant, arguments)
        print(f"{arguments.model} batch {arguments.batch} {variant}: {row}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
