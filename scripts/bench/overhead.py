#!/usr/bin/env python3
"""What a prepared model costs beside its operators, and how a step's cost grows with its size.

`size`: milliseconds per image and nanoseconds per pixel of a training step over batch and image
size, all sizes interleaved; beside it what a further pixel costs, once the step is paid for that
has next to none: weights are quantized, packed and updated whatever the images' size.
`operators`: a model of 200 tiny layers; for each operator that the model's forward calls, the time
that is not spent in the library's own operators: finding the site, plan, autograd nodes, small
tensors, and operators that run as they are (a counter's `add_`), with what these take in the float
model beside it. The times come from the profiler's events, whose own cost is measured and taken
off.

    scripts/bench/overhead.py size --model resnet18 --json size.json
    scripts/bench/overhead.py operators --json operators.json
"""

import argparse
import collections
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import qat_ext as qat
import torch
from contenders import BASE, MODELS, build
from machine import keep_memory, machine
from torch import nn
from torch.profiler import ProfilerActivity, profile
from train_step import data, stepper

BATCHES = (8, 16, 32, 64)
SIZES = (112, 160, 224)
REFERENCE = (16, 112)
SMALLEST = (2, 32)  # a step without pixels worth speaking of; batch norm wants two values
GOAL = 0.1  # of the cost per pixel
LAYERS = 200
GOAL_MICROSECONDS = 3.0


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def size_figures(arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians per image and per pixel of both rows at every size."""
    grid = [SMALLEST, *itertools.product(arguments.batch, arguments.size)]
    found: dict[str, Any] = {"model": arguments.model, "rows": {}}
    for variant in (BASE, "qat_ext"):
        steps = {}
        for batch, size in grid:
            inputs, labels = data(variant, batch, size)
            # A model per size: the ranges of one size are not those of another.
            steps[batch, size] = stepper(
                variant, build(variant, arguments.model, inputs), inputs, labels
            )
            steps[batch, size]()
        times: dict[tuple[int, int], list[float]] = {place: [] for place in grid}
        for _ in range(arguments.rounds):
            for place in grid:
                times[place].append(sum(steps[place]()))
        medians = {place: statistics.median(each) for place, each in times.items()}
        reference = REFERENCE if REFERENCE in medians else grid[1]
        smallest = medians[SMALLEST]
        found["rows"][f"{variant}, smallest step"] = {"milliseconds": round(smallest * 1e3, 1)}

        def per_pixel(place: tuple[int, int], medians: Any = medians) -> float:
            return float(medians[place] / pixels(*place))

        def per_further_pixel(place: tuple[int, int], medians: Any = medians) -> float:
            further = pixels(*place) - pixels(*SMALLEST)
            return float((medians[place] - medians[SMALLEST]) / further)

        for place in grid[1:]:
            batch, size = place
            found["rows"][f"{variant}, batch {batch}, {size} px"] = {
                "milliseconds": round(medians[place] * 1e3, 1),
                "milliseconds_per_image": round(medians[place] / batch * 1e3, 3),
                "nanoseconds_per_pixel": round(per_pixel(place) * 1e9, 1),
                "to_reference": round(per_pixel(place) / per_pixel(reference), 3),
                "nanoseconds_per_further_pixel": round(per_further_pixel(place) * 1e9, 1),
                "further_to_reference": round(
                    per_further_pixel(place) / per_further_pixel(reference), 3
                ),
            }
    return found


def pixels(batch: int, size: int) -> int:
    """Of all images."""
    return batch * size * size


class Tiny(nn.Module):
    """Layers whose arithmetic takes next to no time: 1x1 convolutions of 8 channels at 2x2."""

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
            for _ in range(layers)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every layer in turn."""
        for layer in self.layers:
            x = layer(x)
        return x


def nested(events: Iterable[Any]) -> int:
    """How many events lie below these, with themselves."""
    return sum(1 + nested(event.cpu_children) for event in events)


def own_operators(event: Any) -> list[Any]:
    """The library's operators that one intercepted call ran, outermost ones."""
    if event.name.startswith("qat_ext::"):
        return [event]
    return [own for child in event.cpu_children for own in own_operators(child)]


def small_operators(event: Any) -> list[Any]:
    """ATen's operators that the engine itself called."""
    others = [child for child in event.cpu_children if not own_operators(child)]
    below = [child for child in event.cpu_children if own_operators(child)]
    return others + [small for child in below if not child.name.startswith("qat_ext::")
                     for small in small_operators(child)]  # fmt: skip


def profiled(call: Callable[[], object]) -> tuple[float, list[Any]]:
    """(microseconds, outermost events)."""
    with profile(activities=[ProfilerActivity.CPU]) as session:
        taken = seconds(call) * 1e6
    return taken, [event for event in session.events() if event.cpu_parent is None]


def operator_figures(
    call: Callable[[], object], rounds: int, as_float: dict[str, float] | None = None
) -> tuple[dict[str, Any], dict[str, float]]:
    """(microseconds per operator that the model calls, by where they go; a call's by its name).

    as_float: microseconds of a call in the float model, of the operators that count; by default
    all outermost ones count. Times are those of the fastest round, which other programs disturbed
    least.
    """
    for _ in range(5):
        call()
    pairs = [(seconds(call) * 1e6, profiled(call)) for _ in range(rounds)]
    plain = min(alone for alone, _ in pairs)
    taken, roots = min((run for _, run in pairs), key=lambda run: run[0])
    calls = [event for event in roots if as_float is None or event.name in as_float]
    count = len(calls)
    per_event = max(0.0, taken - plain) / nested(roots)

    def net(event: Any) -> float:
        return float(event.cpu_time_total) - per_event * (nested([event]) - 1)

    total = sum(net(event) for event in calls)
    own = sum(net(operator) for event in calls for operator in own_operators(event))
    plain_calls = [event for event in calls if not own_operators(event)]
    in_float = sum((as_float or {}).get(event.name, 0.0) for event in plain_calls)
    small: collections.Counter[str] = collections.Counter()
    for event in calls:
        for operator in small_operators(event):
            small[operator.name] += net(operator)
    figures = {
        "operators": count,
        "forward_us": plain,
        "us_per_operator": plain / count,
        "own_us_per_operator": own / count,
        "overhead_us_per_operator": (total - own) / count,
        "of_it_as_in_float": in_float / count,
        "of_it_small_tensors": sum(small.values()) / count,
        "of_it_engine": (total - own - in_float - sum(small.values())) / count,
        "between_calls_us_per_operator": (plain - total) / count,
        "profiler_us_per_event": per_event,
    }
    rounded: dict[str, Any] = {name: round(value, 2) for name, value in figures.items()}
    rounded["small_tensors"] = {name: round(us / count, 2) for name, us in small.most_common(6)}
    by_name = {
        name: statistics.fmean(net(event) for event in calls if event.name == name)
        for name in {event.name for event in calls}
    }
    return rounded, by_name


def overhead_figures(arguments: argparse.Namespace) -> dict[str, Any]:
    """The tiny model in eval and in training, and the same in float for comparison."""
    torch.manual_seed(0)
    x = torch.randn(4, 8, 2, 2).to(memory_format=torch.channels_last)
    plain = Tiny(arguments.layers).to(memory_format=torch.channels_last)
    prepared = qat.prepare(Tiny(arguments.layers).to(memory_format=torch.channels_last), x)
    prepared.train()(x)
    report = qat.verify(prepared.eval(), qat.convert(prepared), [x])
    if not report.equal:
        sys.exit(f"invalid: {report}")
    found: dict[str, Any] = {"layers": arguments.layers, "goal_us": GOAL_MICROSECONDS, "rows": {}}
    for name, training in (("eval", False), ("train", True)):
        as_float = None
        for kind, model in (("fp32", plain), ("qat_ext", prepared)):
            model.train(training)
            with torch.set_grad_enabled(training):
                figures, by_name = operator_figures(
                    lambda m=model: m(x), arguments.rounds, as_float
                )
            if kind == "fp32":  # its operators are nobody's overhead
                as_float = by_name
                figures = {
                    key: figures[key]
                    for key in ("forward_us", "us_per_operator", "between_calls_us_per_operator")
                }
            found["rows"][f"{kind}, {name}"] = figures
    return found


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("size", "operators"))
    parser.add_argument("--model", default="resnet18", choices=MODELS)
    parser.add_argument("--batch", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--size", nargs="+", type=int, default=SIZES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--layers",
        type=int,
        default=LAYERS,
        help="of the tiny model; fewer where other programs run, so that a round is over before "
        "it is interrupted",
    )
    parser.add_argument("--json", help="also write the figures to this file")
    return parser.parse_args()


def main() -> None:
    """Prints the figures row by row."""
    arguments = parse()
    keep_memory()
    torch.set_num_threads(arguments.threads)
    measure = size_figures if arguments.what == "size" else overhead_figures
    figures = machine() | {"threads": arguments.threads} | measure(arguments)
    for name, row in figures["rows"].items():
        print(f"{name}: {row}")
    sizes = [
        row
        for name, row in figures["rows"].items()
        if "to_reference" in row and name.startswith("qat_ext")
    ]
    for key, what in (("to_reference", "pixel"), ("further_to_reference", "further pixel")):
        inside = sum(abs(row[key] - 1) <= GOAL for row in sizes)
        if sizes:
            print(f"within {GOAL:.0%} of the reference's cost per {what}: {inside} of {len(sizes)}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
