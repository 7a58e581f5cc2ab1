"""One model, with random weights, in every form that a runtime for inference wants."""

import copy
import functools
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import torchvision_models
from torch import nn

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
