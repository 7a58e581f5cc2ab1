"""The command qat, small jobs for it, and files with changed contents."""

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import qat_ext

ROOT = Path(__file__).resolve().parents[2]


def _command() -> str | None:
    """The executable: $QAT_COMMAND, that of the installed package, or one on the path."""
    if named := os.environ.get("QAT_COMMAND"):
        return named
    packaged = Path(qat_ext.__file__).parent / "bin" / "qat"
    return str(packaged) if packaged.exists() else shutil.which("qat")


QAT = _command()
needs_qat = pytest.mark.skipif(QAT is None, reason="the command qat is not built")


def qat(
    *arguments: str, cwd: Path, largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command; largest_file is a limit in KiB, which acts as a full disk does."""
    command = [str(QAT), *arguments]
    if largest_file is not None:
        command = ["bash", "-c", f'ulimit -f {largest_file}; exec "$@"', "bash", *command]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def stop_when(job: Path, run: str, rows: int, number: int, *overrides: str) -> None:
    """Trains until metrics.jsonl has `rows` lines, then sends the signal and awaits the end."""
    process = subprocess.Popen(
        [str(QAT), "train", job.name, f"run={run}", *overrides],
        cwd=job.parent,
        stdout=subprocess.DEVNULL,
    )
    metrics = job.parent / run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= rows):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number


def fails(result: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    """One line on standard error, and the exit code."""
    assert (result.returncode, result.stderr) == (code, message + "\n")


def last_line(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The fields of the last line of a run that went well."""
    assert result.returncode == 0, result.stderr
    return dict(field.split("=") for field in result.stdout.splitlines()[-1].split(" "))


def write_idx(path: Path, array: np.ndarray) -> None:
    """Unsigned bytes in IDX form, gzipped when the name says so."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())


def images_with_bars(rows: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of one channel whose class is the row of a bright bar."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, rows)
    images = generator.integers(0, 80, (rows, size, size))
    images[np.arange(rows), labels * (size // 4)] += 120
    return images, labels


def write_job(folder: Path, rows: int = 1536, size: int = 8) -> Path:
    """A small job on images of `size` by `size` pixels; the test data are 256 rows."""
    for seed, (split, count) in enumerate((("train", rows), ("test", 256))):
        images, labels = images_with_bars(count, size, seed)
        write_idx(folder / f"{split}-images.gz", images)
        write_idx(folder / f"{split}-labels.gz", labels)
    path = folder / "job.yaml"
    path.write_text(
        "model: {name: resnet, depth: 8, width: 8}\n"
        "data:\n"
        "  name: idx\n"
        "  train_images: train-images.gz\n"
        "  train_labels: train-labels.gz\n"
        "  test_images: test-images.gz\n"
        "  test_labels: test-labels.gz\n"
        "  batch: 16\n"
        "  augment: {flip: true, shift: 1}\n"
        "threads: 1\n"
        "float: {epochs: 3, optimizer: {lr: 0.05}, schedule: {name: one_cycle}}\n"
        "calibrate: {batches: 4}\n"
    )
    return path


def change_tensor(
    path: Path, choose: Callable[[str], bool], dtype: type, change: Callable[[np.ndarray], None]
) -> str:
    """Changes the first tensor whose name is chosen, signs the file anew and returns the name."""
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    header = raw[8 : 8 + size].decode()
    data = bytearray(raw[8 + size :])
    tensors = {name: at for name, at in json.loads(header).items() if name != "__metadata__"}
    name: str = next(filter(choose, sorted(tensors)))
    begin, end = tensors[name]["data_offsets"]
    change(np.frombuffer(memoryview(data)[begin:end], dtype))
    header, count = re.subn(r'("sha256":\s*")[0-9a-f]{64}', r"\g<1>" + "0" * 64, header)
    assert count == 1
    blank = raw[:8] + header.encode() + bytes(data)
    path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1))
    return name
