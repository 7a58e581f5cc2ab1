"""What scripts/bench/inference.py measures: a function of no arguments per runtime."""

import copy
import ctypes
import functools
from collections.abc import Callable

import numpy as np
import torch
from inference_files import Files, Skipped

Runner = Callable[[], np.ndarray]
Maker = Callable[[Files, torch.Tensor, int], Runner]  # of the images and the number of threads


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


def makers(library: str | None) -> dict[str, Maker]:
    """library: the path of libqat_runtime.so, where the C interface is measured too."""
    return {
        "torch fp32": float_runner,
        "qat_ext": own_runner,
        "qat_ext C": functools.partial(c_runner, library),
        "onnxruntime": onnxruntime_runner,
        "openvino": openvino_runner,
    }
