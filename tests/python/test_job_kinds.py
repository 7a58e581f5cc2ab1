"""Every kind of model, data, optimizer and schedule that a job offers, run whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from job_support import images_with_bars, last_line, needs_qat, qat, write_job
from safetensors.numpy import save_file

pytestmark = needs_qat

ROWS = 256
OPTIMIZERS = {
    "sgd_plain": "{name: sgd, lr: 0.05, momentum: 0, nesterov: false}",
    "adam": "{name: adam, lr: 3e-3, weight_decay: 1e-4}",
    "adamw": "{name: adamw, lr: 3e-3, weight_decay: 0.01, betas: [0.8, 0.99]}",
}
SCHEDULES = {
    "constant": "{name: constant}",
    "cosine": "{name: cosine, warmup: 0.2, start: 0.1, end: 0.01}",
    "step": "{name: step, every: 1, gamma: 0.5}",
}
MODELS = {
    "mlp": "{name: mlp, hidden: [32, 16], dropout: 0.1}",
    "mobilenet_v2": "{name: mobilenet_v2, width: 0.25}",
    "vit": "{name: vit, patch: 7, dim: 16, depth: 2, heads: 2, mlp_dim: 32, dropout: 0.1}",
}
SETTINGS = {
    "bfloat16": ["float.amp=bfloat16"],
    "bfloat16_in_qat_alone": ["qat.amp=bfloat16"],
    "clipping_and_smoothing": ["float.clip_norm=0.5", "float.label_smoothing=0.1"],
    **{name: [f"float.optimizer={text}"] for name, text in OPTIMIZERS.items()},
    **{
        name: [f"float.schedule={text}", f"qat.schedule={text}"] for name, text in SCHEDULES.items()
    },
}


def check_whole_run(job: Path, *overrides: str) -> None:
    """All logits of the test data are equal, and more is learnt than the 25 % of a guess.

    256 rows of 4 classes: a guesser is above 0.4 with a chance of 1e-7 (5.5 standard deviations).
    """
    result = qat("train", "job.yaml", "run=r", "float.epochs=4", *overrides, cwd=job.parent)
    fields = last_line(result)
    assert fields["differing_logits"] == f"0/{ROWS * 4}"
    report = json.loads((job.parent / "r/report.json").read_text())
    assert report["verify"]["differing_parameters"] == 0
    # 256 // 12 rows choose the epoch.
    rows = [report["dataset"][split] for split in ("train", "validation", "test")]
    assert rows == [235, 21, 256]
    assert float(fields["int8_accuracy"]) > 0.4


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_optimizer_and_schedule(tmp_path: Path, setting: str) -> None:
    check_whole_run(write_job(tmp_path, ROWS), *SETTINGS[setting])


@pytest.mark.parametrize("model", MODELS)
def test_every_model(tmp_path: Path, model: str) -> None:
    """28 pixels: the smallest that MobileNetV2 takes, and four patches a side for ViT."""
    job = write_job(tmp_path, ROWS, size=28)
    optimizer = "float.optimizer={name: adamw, lr: 4e-3}"
    epochs = 30 if model == "vit" else 8  # a step of MobileNetV2 costs ten of the others
    check_whole_run(job, f"model={MODELS[model]}", optimizer, f"float.epochs={epochs}")


@pytest.mark.parametrize("header", [True, False])
def test_rows_of_a_csv_file(tmp_path: Path, header: bool) -> None:
    job = write_job(tmp_path, ROWS)
    for seed, split in enumerate(("train", "test")):
        images, labels = images_with_bars(ROWS, 8, seed)
        table = np.column_stack([labels, images.reshape(ROWS, -1) / 255])
        names = ",".join(["kind", *(f"pixel{i}" for i in range(64))]) if header else ""
        np.savetxt(
            tmp_path / f"{split}.csv", table, ["%d"] + ["%.6f"] * 64, ",", header=names, comments=""
        )
        if not header:
            text = (tmp_path / f"{split}.csv").read_text()
            (tmp_path / f"{split}.csv").write_text(text.removeprefix("\n"))
    label = "kind" if header else "0"
    data = f"{{name: csv, train: train.csv, test: test.csv, label: {label}, batch: 16"
    data += "}" if header else ", header: false}"
    check_whole_run(job, "model={name: mlp}", f"data={data}")
    # libqat_runtime has no operators of torch.
    assert "aten::" not in qat("inspect", "r/model.safetensors", cwd=tmp_path).stdout


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_a_safetensors_file(tmp_path: Path, dtype: type) -> None:
    job = write_job(tmp_path, ROWS)
    for seed, split in enumerate(("train", "test")):
        images, labels = images_with_bars(ROWS, 8, seed)
        coloured: np.ndarray = np.stack([images, images // 2, 255 - images], axis=1).astype(dtype)
        save_file(
            {"inputs": coloured, "targets": labels.astype(np.int64)},
            tmp_path / f"{split}.safetensors",
        )
    data = "{name: safetensors, train: train.safetensors, test: test.safetensors, batch: 16}"
    check_whole_run(job, f"data={data}")
