#!/usr/bin/env python3
"""Inference side by side: torch float32, qat_ext int8, ONNX Runtime int8 and OpenVINO int8.

The same torchvision model with the same random weights, everything interleaved in one process. Our
outputs are compared with the reference executor bit for bit before anything is timed; the
others' with the float model. A competitor that is not installed is left out and named.

    scripts/bench/inference.py --model resnet18 --batch 1 16 --threads 1 2 --json out.json
"""

import argparse
import copy
import ctypes
import functools
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from machine import machine
from models import torchvision_models
from torch import nn

Runner = Callable[[], np.ndarray]
SIZE = 224
CALIBRATION = 8  # images


class Skipped(Exception):
    """A competitor that cannot run here."""


def need(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


class Files:
    """The model in every form that a runtime wants, made once per run of this script."""

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder = folder
        self.calibration = torch.randn(CALIBRATION, 3, SIZE, SIZE)
        model = getattr(torchvision_models(), name)()
        self.checkpoint = folder / "model.safetensors"
        self.model = self._calibrate_and_convert(model).eval()

    def _calibrate_and_convert(self, model: nn.Module) -> nn.Module:
        """Running statistics and ranges from the images that the others are calibrated with: with
        the initial ones, activations of random weights die out on the way."""
        import qat_ext as qat

        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all batches
        with torch.no_grad():
            model.train()(self.calibration)
        prepared = qat.prepare(model.eval(), self.calibration)
        with qat.calibrate(prepared), torch.no_grad():
            prepared(self.calibration)
        qat.convert(prepared.eval()).save(self.checkpoint)
        return copy.deepcopy(model)

    @functools.cached_property
    def onnx(self) -> Path:
        need("onnx")
        path = self.folder / "float.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.model,
                (self.calibration[:1],),
                path,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
                dynamo=False,
            )
        return path

    @functools.cached_property
    def onnx_int8(self) -> Path:
        """u8 activations and s8 weights per channel in the form with explicit QDQ nodes."""
        need("onnx", "onnxruntime")
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        images = iter([{"x": image[None].numpy()} for image in self.calibration])

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(images, None)

        cleaned, path = self.folder / "cleaned.onnx", self.folder / "int8.onnx"
        quant_pre_process(self.onnx, cleaned)
        quantization.quantize_static(
            cleaned,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return path

    @functools.cached_property
    def openvino_int8(self) -> Any:
        """By NNCF where it is installed, else from the ONNX file with QDQ nodes."""
        need("openvino")
        import openvino

        if importlib.util.find_spec("nncf") is None:
            return openvino.Core().read_model(self.onnx_int8)
        import nncf

        model = openvino.convert_model(self.model, example_input=self.calibration[:1])
        images = [image[None].numpy() for image in self.calibration]
        return nncf.quantize(model, nncf.Dataset(images), subset_size=CALIBRATION)


def float_runner(files: Files, x: torch.Tensor, threads: int) -> Runner:
    model = copy.deepcopy(files.model).to(memory_format=torch.channels_last)
    given = x.to(memory_format=torch.channels_last)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(given).numpy()

    return run


def own_runner(files: Files, x: torch.Tensor, threads: int) -> Runner:
    import qat_ext as qat

    model = qat.load(files.checkpoint)
    return lambda: model(x).numpy()


def c_runner(library: str | None, files: Files, x: torch.Tensor, threads: int) -> Runner:
    """The C interface of libqat_runtime, on the buffers of numpy arrays."""
    if library is None:
        raise Skipped("name the shared library with --library")
    lib = ctypes.CDLL(library)
    lib.qat_error.restype = ctypes.c_char_p
    model, context = ctypes.c_void_p(), ctypes.c_void_p()

    def check(status: int) -> None:
        if status != 0:
            raise RuntimeError(lib.qat_error().decode())

    check(lib.qat_model_load(str(files.checkpoint).encode(), ctypes.byref(model)))
    check(lib.qat_context_create(model, ctypes.c_int(threads), ctypes.byref(context)))
    given = np.ascontiguousarray(x.numpy())
    output = np.empty((len(x), 1000), np.float32)
    inputs = (ctypes.c_void_p * 1)(given.ctypes.data)
    outputs = (ctypes.c_void_p * 1)(output.ctypes.data)
    batch = ctypes.c_int64(len(x))

    def run() -> np.ndarray:  # keeps `given` alive
        check(lib.qat_run(context, batch, inputs, outputs))
        return output

    return run


def onnxruntime_runner(files: Files, x: torch.Tensor, threads: int) -> Runner:
    path = files.onnx_int8
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"x": x.numpy()}
    return lambda: session.run(None, feed)[0]


def openvino_runner(files: Files, x: torch.Tensor, threads: int) -> Runner:
    """One stream, static shapes: the setting for latency."""
    model = files.openvino_int8.clone()
    import openvino

    model.reshape(list(x.shape))
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.numpy(), shared_memory=True))

    def run() -> np.ndarray:
        request.infer()
        return np.array(request.get_output_tensor().data)

    return run


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
    makers: dict[str, Callable[[Files, torch.Tensor, int], Runner]] = {
        "torch fp32": float_runner,
        "qat_ext": own_runner,
        "qat_ext C": functools.partial(c_runner, options.library),
        "onnxruntime": onnxruntime_runner,
        "openvino": openvino_runner,
    }
    x = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    runners: dict[str, Runner] = {}
    skipped: dict[str, str] = {}
    for name, make in makers.items():
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
