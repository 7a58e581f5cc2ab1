#!/usr/bin/env python3
"""The training operators beside ATen's and beside a copy, in five sizes of tensor.

Validates first (fake-quantization and its gradient equal ATen's but for ties), then times all of
them in turn. GB/s counts the bytes that an operator must read and write. All are called through
torch.ops; "whole backward" is torch.autograd.grad of either. The smallest size tells what a call
costs, which bounds the ratios of small tensors: "net" is the ratio of the times beyond it. One
thread is timed by the processor's time, more by the wall clock, which is too unsteady for "net".

    scripts/bench/ops.py --threads 2 --json out.json
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import qat_ext as qat
import torch
from machine import keep_memory, machine
from op_calls import Entry, Tensors, entries, validate

# [N, C, H, W]: the operands of 0.05 M elements stay in a second-level cache of 1 MB, those of 1 M
# (4 MB each) in a third of 32 MB, those of 4 M in it only one by one, and those of 67 M nowhere.
SIZES = {
    "call": (1, 64, 1, 1),
    "L2": (1, 64, 28, 28),
    "L3": (5, 64, 56, 56),
    "beyond L3": (20, 64, 56, 56),
    "DRAM": (84, 256, 56, 56),
}

BATCH = 1 << 23  # elements: small tensors are timed in batches, with warm caches
MOST_CALLS = 1000  # in a batch

Figures = dict[str, dict[str, float]]  # of each entry


def median_times(tensors: Tensors, all_entries: list[Entry], seconds: float) -> dict[str, float]:
    """Seconds per call, all entries in turn."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {entry.name: [] for entry in all_entries}
    for entry in all_entries:
        entry.run()
    batch = min(MOST_CALLS, max(1, BATCH // tensors.x.numel()))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for entry in all_entries:
            start = clock()
            for _ in range(batch):
                entry.run()
            times[entry.name].append((clock() - start) / batch)
    return {name: statistics.median(each) for name, each in times.items()}


def measure(shape: tuple[int, ...], seconds: float, call: Figures) -> Figures:
    """call: the figures of next to no elements, or nothing."""
    tensors = Tensors(shape)
    validate(tensors)
    all_entries = entries(tensors)
    times = median_times(tensors, all_entries, seconds)
    found: Figures = {}
    for entry in all_entries:
        us = times[entry.name] * 1e6
        each = us / tensors.x.numel() * 1e3
        row = {"us": us, "ns": each, "GB/s": entry.bytes_per_element / each}
        if entry.baseline:
            theirs = found[entry.baseline]["us"]
            row["speedup"] = theirs / us
            if call and torch.get_num_threads() == 1:
                theirs -= call[entry.baseline]["us"]
                row["net speedup"] = theirs / (us - call[entry.name]["us"])
        found[entry.name] = row
        row["of copy"] = row["GB/s"] / found["copy"]["GB/s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="per size")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(arguments.threads)
    figures: dict[str, object] = {"threads": arguments.threads, "qat_ext": qat.__version__}
    figures |= machine()
    call: Figures = {}
    for level, shape in SIZES.items():
        figures[level] = found = measure(shape, arguments.seconds, call)
        call = call or found
        print(f"{level} {list(shape)}, {arguments.threads} threads")
        for name, row in found.items():
            speedup = f"{row['speedup']:6.1f} x ATen" if "speedup" in row else ""
            speedup += f", net {row['net speedup']:.1f}" if "net speedup" in row else ""
            print(
                f"  {name:32s} {row['us']:9.1f} us {row['ns']:8.3f} ns/element "
                f"{row['GB/s']:6.1f} GB/s {row['of copy'] * 100:4.0f} % of copy {speedup}"
            )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=2)


if __name__ == "__main__":
    main()
