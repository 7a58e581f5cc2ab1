#!/usr/bin/env python3
"""Inference side by side: torch float32, qat_ext int8, ONNX Runtime int8 and OpenVINO int8.

The same torchvision model with the same random weights, everything interleaved in one process. Our
outputs are compared with the reference executor bit for bit before anything is timed; the
others' with the float model. A competitor that is not installed is left out and named.

    scripts/bench/inference.py --model resnet18 --batch 1 16 --threads 1 2 --json out.json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from inference_contenders import Runner, makers
from inference_files import SIZE, Files, Skipped
from machine import machine


def validate(files: Files, x: torch.Tensor, runners: dict[str, Runner]) -> dict[str, float]:
    """Ends the script if ours differ from the reference in a bit. Returns the signal-to-noise ratio
    of every runner against the float model in dB."""
    import qat_ext as qat

    reference = qat.load(files.checkpoint).run(x, executor="reference").numpy()
    for name in ("qat_ext", "qat_ext C"):
        if name in runners and runners[name]().tobytes() != reference.tobytes():
            sys.exit(f"invalid: {name} differs from the reference executor")
    with torch.inference_mode():
        expected = files.model(x).numpy().astype(np.float64)
    ratios = {}
    for name, run in runners.items():
        noise = np.square(run() - expected).sum()
        ratios[name] = float(10 * np.log10(np.square(expected).sum() / max(noise, 1e-30)))
    return ratios


def interleaved(runners: dict[str, Runner], rounds: int, calls: int) -> dict[str, list[float]]:
    """Milliseconds of single calls; the first of each turn, with another's data in the caches, is
    not counted."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            run()
            for _ in range(calls):
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def compare(
    files: Files, batch: int, threads: int, options: argparse.Namespace
) -> dict[str, object]:
    torch.set_num_threads(threads)
    x = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    runners: dict[str, Runner] = {}
    skipped: dict[str, str] = {}
    for name, make in makers(options.library).items():
        try:
            runners[name] = make(files, x, threads)
        except Skipped as reason:
            skipped[name] = str(reason)
    fidelity = validate(files, x, runners)
    times = interleaved(runners, options.rounds, options.calls)
    medians = {name: statistics.median(list_) for name, list_ in times.items()}
    print(f"{options.model} batch {batch}, {threads} thread(s), load {os.getloadavg()[0]:.1f}")
    figures = {}
    for name in runners:
        figures[name] = {
            "median_ms": round(medians[name], 2),
            "best_ms": round(min(times[name]), 2),
            "speedup_over_fp32": round(medians["torch fp32"] / medians[name], 2),
            "snr_db": round(fidelity[name], 1),
        }
        print(f"  {name:12} {figures[name]}")
    for name, why in skipped.items():
        print(f"  {name:12} skipped: {why}")
    case = {"batch": batch, "threads": threads, "load_average": round(os.getloadavg()[0], 1)}
    return {**case, "figures": figures, "skipped": skipped}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="resnet18", choices=("resnet18", "mobilenet_v2"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=5, help="timed calls per round")
    parser.add_argument("--library", help="libqat_runtime.so, to time the C interface too")
    parser.add_argument("--json", help="also write the figures to this file")
    return parser.parse_args()


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        files = Files(options.model, Path(folder))
        cases = [
            compare(files, batch, threads, options)
            for threads in options.threads
            for batch in options.batch
        ]
    if options.json:
        report = {
            "model": options.model,
            **machine(),
            "cores": os.cpu_count(),
            "wait_policy": os.environ["OMP_WAIT_POLICY"],
            "cases": cases,
        }
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)


if __name__ == "__main__":
    main()
