#!/usr/bin/env python3
"""One training step: float32, torch.ao's fused QAT and qat_ext, interleaved in one process.

Validates first (qat_ext's int8 model equals its eval() bit for bit, every convolution and linear
layer ran in integers), then times. Memory is measured in a process of its own per variant.

    scripts/bench/train_step.py --model resnet18 --batch 16 --size 112 --json out.json
"""

import argparse
import copy
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import nn

VARIANTS = ("fp32", "torch.ao", "qat_ext")


@functools.cache
def torchvision_models() -> ModuleType:
    """torchvision's model definitions; beside a CPU torch two of its schemas are missing."""
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{name}", schema.removeprefix(name))
    import torchvision

    return torchvision.models


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
    model = getattr(models, name)().to(memory_format=torch.channels_last)
    if variant == "fp32":
        return model.train()
    import qat_ext as qat

    return qat.prepare(model, example).train()


def stepper(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Callable[[], float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

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
    step = stepper(build(arguments.memory_of, arguments.model, inputs), inputs, labels)
    step(), step()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")
    step()
    print(json.dumps(resident("VmHWM") - before))


def peak_memory(variant: str, arguments: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--memory-of", variant, "--model", arguments.model]
    command += ["--batch", str(arguments.batch), "--size", str(arguments.size)]
    command += ["--threads", str(arguments.threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout.splitlines()[-1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18", choices=("resnet18", "mobilenet_v2"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        measure_memory(arguments)
        return
    inputs, labels = data(arguments)
    models = {variant: build(variant, arguments.model, inputs) for variant in VARIANTS}
    steps = {variant: stepper(model, inputs, labels) for variant, model in models.items()}
    for step in steps.values():
        step(), step(), step()
    validate(models["qat_ext"], inputs)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(arguments.rounds):
        for variant, step in steps.items():
            start = time.perf_counter()
            step()
            times[variant].append(time.perf_counter() - start)
    figures: dict[str, object] = {
        "model": arguments.model,
        "batch": arguments.batch,
        "size": arguments.size,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    for variant in VARIANTS:
        ratios = [own / base for own, base in zip(times[variant], times["fp32"], strict=True)]
        figures[variant] = {
            "milliseconds": round(statistics.median(times[variant]) * 1e3, 1),
            "ratio": round(statistics.median(ratios), 3),
            "peak_mib": round(peak_memory(variant, arguments), 1),
        }
        print(f"{arguments.model} batch {arguments.batch} {variant}: {figures[variant]}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
