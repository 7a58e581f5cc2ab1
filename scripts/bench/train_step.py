#!/usr/bin/env python3
"""One training step: float32, bfloat16, torch.compile, torch.ao, torchao and qat_ext, interleaved.

Every row is validated before it is timed: its first logits against float32's, finite gradients;
for qat_ext also the bits of the converted model and, counted by the profiler, that every
convolution and linear layer ran in integers. Rows take turns within one process; a ratio is that of
each round to its float32 channels-last step. Memory is measured in a process of its own per row.
The allocator keeps freed memory on all sides unless --default-allocator is given: with glibc's
defaults each step faults its activations in anew. Where memory is measured it is the other way
about, so that what is resident is what is alive. A peer that is missing is named.

    scripts/bench/train_step.py --model resnet18 mobilenet_v2 --batch 16 32 --folder figures
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from contenders import BASE, MODELS, VARIANTS, Missing, build, float_model, is_ours
from machine import keep_memory, machine, mapped_environment
from proof import Invalid, check_integers, check_loss
from step_memory import peak_mib, saved_mib
from torch import nn

PHASES = ("forward", "backward", "optimizer")


def stepper(
    variant: str, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> Callable[[], list[float]]:
    """A training step that returns the seconds of its phases."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    narrow = variant == "bf16 autocast"

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


def data(variant: str, batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same images for every row, in the layout of its weights."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, 3, size, size, generator=generator)
    labels = torch.randint(0, 1000, (batch,), generator=generator)
    if variant != "fp32":
        inputs = inputs.to(memory_format=torch.channels_last)
    return inputs, labels


def measure_memory(arguments: argparse.Namespace, name: str, batch: int) -> None:
    """Prints one row's memory as JSON."""
    variant = arguments.memory_of
    inputs, labels = data(variant, batch, arguments.size)
    peak = peak_mib(lambda: stepper(variant, build(variant, name, inputs), inputs, labels))
    saved = None
    if variant != "torch.compile":  # its saved tensors are not the graph's
        narrow = variant == "bf16 autocast"
        saved = round(saved_mib(build(variant, name, inputs), inputs, narrow), 1)
    print(json.dumps({"peak_mib": round(peak, 1), "saved_mib": saved}))


def this_script(arguments: argparse.Namespace, name: str, batch: int) -> list[str]:
    """The command line that runs this script for one model and batch size."""
    command = [sys.executable, __file__, "--model", name, "--batch", str(batch)]
    command += ["--size", str(arguments.size), "--threads", str(arguments.threads)]
    command += ["--rounds", str(arguments.rounds), "--variants", *arguments.variants]
    command += ["--default-allocator"] * arguments.default_allocator
    command += [] if arguments.memory else ["--no-memory"]
    return command + (["--folder", str(arguments.folder)] if arguments.folder else [])


def memory(variant: str, arguments: argparse.Namespace, name: str, batch: int) -> dict[str, Any]:
    """One row's memory, from a process of its own."""
    command = [*this_script(arguments, name, batch), "--memory-of", variant]
    command += [] if arguments.default_allocator else ["--default-allocator"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env=mapped_environment()
    )
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


Steps = dict[str, Callable[[], list[float]]]


def validated(
    arguments: argparse.Namespace, name: str, batch: int
) -> tuple[Steps, dict[str, Any], dict[str, str]]:
    """(steps by row, what was proved of it, why other rows are missing)."""
    steps: Steps = {}
    proofs: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    plain = float_model(name, arguments.size).train()
    inputs, _ = data("fp32", batch, arguments.size)
    with torch.no_grad():
        expected = plain(inputs)
    for variant in VARIANTS:
        if variant not in (BASE, *arguments.variants):
            continue
        inputs, labels = data(variant, batch, arguments.size)
        try:
            model = build(variant, name, inputs)
        except Missing as reason:
            left_out[variant] = str(reason)
            print(f"left out: {variant}: {reason}")
            continue
        proof: dict[str, Any] = {
            "logits_error": round(check_loss(variant, model, inputs, labels, expected), 5)
        }
        step = stepper(variant, model, inputs, labels)
        for _ in range(3):
            step()
        if is_ours(variant):
            proof |= check_integers(variant, model, plain, inputs)
        print(f"validated: {variant}: {proof}", flush=True)
        steps[variant], proofs[variant] = step, proof
    return steps, proofs, left_out


def timed(steps: Steps, rounds: int) -> dict[str, list[list[float]]]:
    """Seconds of every phase by row and round; each round begins with another row."""
    times: dict[str, list[list[float]]] = {variant: [] for variant in steps}
    order = list(steps)
    for _ in range(rounds):
        for variant in order:
            times[variant].append(steps[variant]())
        order = order[1:] + order[:1]
    return times


def row_of(times: list[list[float]], base: list[list[float]]) -> dict[str, Any]:
    """Medians in milliseconds, and of the ratio of each round."""
    whole = [sum(step) for step in times]
    ratios = [own / sum(other) for own, other in zip(whole, base, strict=True)]
    row = {
        "milliseconds": round(statistics.median(whole) * 1e3, 1),
        "ratio": round(statistics.median(ratios), 3),
    }
    phases = zip(PHASES, zip(*times, strict=True), strict=True)
    return row | {phase: round(statistics.median(each) * 1e3, 1) for phase, each in phases}


def measure(arguments: argparse.Namespace, name: str, batch: int) -> None:
    """One model at one batch size: validates, times, prints and writes."""
    steps, proofs, left_out = validated(arguments, name, batch)
    timed(steps, 2)  # torch.compile compiles again after other rows' global state has changed
    times = timed(steps, arguments.rounds)
    figures: dict[str, Any] = {"model": name, "batch": batch, "size": arguments.size}
    figures |= {"threads": arguments.threads, "rounds": arguments.rounds}
    figures["allocator"] = "default" if arguments.default_allocator else "keeps memory"
    figures |= machine()
    figures |= {"proofs": proofs, "left_out": left_out, "rows": {}}
    print(", ".join(f"{key} {figures[key]}" for key in ("machine", "capability", "torch")))
    for variant in steps:
        row = row_of(times[variant], times[BASE])
        if arguments.memory:
            row |= memory(variant, arguments, name, batch)
        figures["rows"][variant] = row
        print(f"{name} batch {batch} {variant}: {row}", flush=True)
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        path = arguments.folder / f"{name}_b{batch}_{arguments.size}px.json"
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["resnet18"], choices=MODELS)
    parser.add_argument("--batch", nargs="+", type=int, default=[16])
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--default-allocator", action="store_true")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--folder", type=Path, help="writes MODEL_bBATCH_SIZEpx.json there")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Several models or batch sizes run in a process each, so that none inherits memory."""
    arguments = parse()
    if not arguments.default_allocator:
        keep_memory()
    torch.set_num_threads(arguments.threads)
    runs = list(itertools.product(arguments.model, arguments.batch))
    if arguments.memory_of:
        measure_memory(arguments, *runs[0])
        return
    if len(runs) == 1:
        try:
            measure(arguments, *runs[0])
        except Invalid as reason:
            sys.exit(f"invalid: {reason}")
        return
    for name, batch in runs:
        if subprocess.run(this_script(arguments, name, batch), check=False).returncode:
            print(f"no figures: {name} batch {batch}")


if __name__ == "__main__":
    main()
