"""Runs of the command qat: stopping and resuming, what they leave, and what tells them apart."""

import json
import shutil
import signal
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from job_support import (
    change_tensor,
    fails,
    images_with_bars,
    last_line,
    needs_qat,
    qat,
    stop_when,
    write_idx,
    write_job,
)

pytestmark = needs_qat


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """1408 training rows in batches of 16: 88 steps an epoch."""
    return write_job(tmp_path)


def _without_time(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize(("rows", "number"), [(2, signal.SIGTERM), (18, signal.SIGINT)])
def test_a_stopped_run_resumes_to_identical_files(job: Path, rows: int, number: int) -> None:
    """A line every 20 of 88 steps and one an epoch: line 2 is of the first epoch, line 18 is of the
    quantization-aware one, after 13 + 3 of the float ones and the one of step 280."""
    whole = qat("train", "job.yaml", "run=whole", cwd=job.parent)
    assert whole.returncode == 0, whole.stderr
    stop_when(job, "halved", rows, number)
    resumed = qat("resume", "halved", cwd=job.parent)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    for name in ("float.safetensors", "model.safetensors", "checkpoints/best_qat.safetensors"):
        assert (job.parent / "halved" / name).read_bytes() == (
            job.parent / "whole" / name
        ).read_bytes(), name
    assert _without_time(job.parent / "halved/metrics.jsonl") == _without_time(
        job.parent / "whole/metrics.jsonl"
    )
    assert (job.parent / "whole/report.html").read_text().count("<svg") >= 4


def test_learned_scales_train_and_resume(job: Path) -> None:
    learned = ("recipe=w4a4-lsq",)
    whole = qat("train", "job.yaml", "run=whole", *learned, cwd=job.parent)
    assert last_line(whole)["differing_logits"] == f"0/{256 * 4}"
    stop_when(job, "halved", 18, signal.SIGINT, *learned)
    resumed = qat("resume", "halved", cwd=job.parent)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "checkpoints/best_qat.safetensors"):
        assert (job.parent / "halved" / name).read_bytes() == (
            job.parent / "whole" / name
        ).read_bytes(), name


def test_a_job_starts_from_given_weights(finished: Path, tmp_path: Path) -> None:
    """The same float model, so the same int8 model; without a line of the float phase."""
    weights = finished / "r" / "float.safetensors"
    job = write_job(tmp_path, rows=256)
    given = qat("train", "job.yaml", "run=r", f"weights={weights}", cwd=job.parent)
    assert last_line(given)["differing_logits"] == f"0/{256 * 4}"
    assert (tmp_path / "r/float.safetensors").read_bytes() == weights.read_bytes()
    phases = {json.loads(line)["phase"] for line in open(tmp_path / "r/metrics.jsonl")}
    assert phases == {"qat"}
    fails(
        qat("train", "job.yaml", "weights=none.safetensors", cwd=job.parent),
        2,
        f"job.yaml: error: weights: there is no file {tmp_path}/none.safetensors; give the path of "
        "a float model such as a run's float.safetensors",
    )
    assert not (tmp_path / "runs").exists()


def test_given_weights_that_do_not_fit_are_named_with_their_place(
    finished: Path, tmp_path: Path
) -> None:
    weights = finished / "r" / "float.safetensors"
    write_job(tmp_path, rows=256)
    override = f"weights={weights}"
    fails(
        qat("train", "job.yaml", "run=r", override, "data.classes=5", cwd=tmp_path),
        2,
        f"command line: {override}: error: weights: {weights} does not fit samples of [1, 8, 8] in "
        "5 classes: its tensor 'fc.weight' is [4, 32], the model of this job needs [5, 32]; "
        "give the job the model and the data that the file was trained with, or another file",
    )
    assert not (tmp_path / "r/float.safetensors").exists()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:100])
    result = qat("train", "job.yaml", "run=b", f"weights={broken}", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"command line: weights={broken}: error: weights: {broken}: ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with a whole run r."""
    job = write_job(tmp_path_factory.mktemp("finished"), rows=256)
    fields = last_line(qat("train", "job.yaml", "run=r", cwd=job.parent))
    assert list(fields) == ["float_accuracy", "int8_accuracy", "differing_logits", "size_ratio"]
    assert fields["differing_logits"] == f"0/{256 * 4}"
    return job.parent


def test_verify_and_evaluate_agree_with_the_last_line(finished: Path) -> None:
    report = json.loads((finished / "r/report.json").read_text())
    floating, integer = (report[kind]["accuracy"] for kind in ("float", "int8"))
    verified = qat("verify", "r", cwd=finished)
    assert verified.stdout == f"differing_logits=0/{256 * 4} differing_parameters=0\n"
    limited = qat("verify", "r", "--limit", "10", cwd=finished)
    assert limited.stdout == "differing_logits=0/40 differing_parameters=0\n"
    evaluated = qat("evaluate", "r", cwd=finished)
    line = evaluated.stdout.splitlines()[-1]
    assert line == f"float_accuracy={floating:.4f} int8_accuracy={integer:.4f}"
    model = qat("evaluate", "r/model.safetensors", cwd=finished)
    assert model.stdout.splitlines()[-1] == f"int8_accuracy={integer:.4f}"


def _next_float(array: np.ndarray) -> None:
    array[0] = np.nextafter(array[0], np.float32(np.inf))


def _next_code(array: np.ndarray) -> None:
    array[0] += 1 if array[0] < 127 else -1


@pytest.mark.parametrize("ending", [".weight", ".multiplier", ".bias", "activation_scales"])
def test_verify_finds_one_changed_number(finished: Path, tmp_path: Path, ending: str) -> None:
    run = tmp_path / "r"
    shutil.copytree(finished / "r", run)
    dtype, change = (np.int8, _next_code) if ending == ".weight" else (np.float32, _next_float)
    name = change_tensor(
        run / "model.safetensors", lambda name: name.endswith(ending), dtype, change
    )
    result = qat("verify", "r", cwd=tmp_path)
    assert result.returncode == 1
    assert "differing_parameters=0" not in result.stdout
    message = "qat: error: the int8 model is not the trained model, first difference: "
    if ending == "activation_scales":
        assert result.stderr.startswith(message + "scale or zero point of '")
        assert result.stderr.count("\n") == 1
    else:
        assert result.stderr == f"{message}tensor '{name}'\n"


@pytest.mark.parametrize("command", ["evaluate", "inspect", "bench"])
def test_a_damaged_model_is_refused(finished: Path, tmp_path: Path, command: str) -> None:
    raw = bytearray((finished / "r/model.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "m.safetensors").write_bytes(raw)
    result = qat(command, "m.safetensors", cwd=tmp_path)
    assert result.returncode == 1
    place = "qat: error: m.safetensors: __metadata__: sha256: the file is damaged: it says "
    assert result.stderr.startswith(place)
    assert result.stderr.endswith("; copy or export it again\n")
    (tmp_path / "m.safetensors").write_bytes(raw[:3000])
    result = qat(command, "m.safetensors", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("qat: error: m.safetensors: the header must end within the ")


def test_a_full_disk_keeps_the_old_model(finished: Path) -> None:
    """A finished run that is resumed writes its model and its report again."""
    run = finished / "r"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    size = len(before[run / "model.safetensors"])
    fails(
        qat("resume", "r", cwd=finished, largest_file=8),
        1,
        f"qat: error: {run}/model.safetensors: cannot write {size} bytes: File too large",
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_test_data_choose_nothing(finished: Path, tmp_path: Path) -> None:
    """With test labels that are all wrong, the same numbers are logged and weights shipped."""
    job = write_job(tmp_path, rows=256)
    _, labels = images_with_bars(256, 8, seed=1)  # as write_job makes them
    write_idx(tmp_path / "test-labels.gz", (labels + 1) % 4)
    last_line(qat("train", "job.yaml", "run=r", cwd=job.parent))
    for name in ("float.safetensors", "checkpoints/best_qat.safetensors"):
        assert (tmp_path / "r" / name).read_bytes() == (finished / "r" / name).read_bytes(), name
    assert _without_time(tmp_path / "r/metrics.jsonl") == _without_time(
        finished / "r/metrics.jsonl"
    )


class _Balance(HTMLParser):
    """Checks that every tag is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_shows_what_it_promises(finished: Path) -> None:
    report = json.loads((finished / "r/report.json").read_text())
    text = (finished / "r/report.html").read_text()
    page = _Balance()
    page.feed(text)
    page.close()
    assert page.open == []
    assert "http" not in text  # nothing is fetched
    charts = [ElementTree.fromstring(f"<svg{part.split('</svg>')[0]}</svg>")
              for part in text.split("<svg")[1:]]  # fmt: skip
    assert [chart.findtext("title") for chart in charts] == [
        "Loss",
        "Accuracy",
        "Learning rate",
        "Signal-to-noise ratio of the weight codes",
        "Range of the activation codes (behind it: the scale)",
        "Signal-to-noise ratio of the activation codes",
    ]
    assert "nan" not in text and "inf" not in text
    assert report["dataset"]["digest"].startswith("sha256:") and report["dataset"]["digest"] in text
    assert len(report["layers"]) == 10
    # 8 bits: 20 dB is an error of a tenth, which no layer of a working model has.
    assert all(layer["weight_snr_db"] > 20 for layer in report["layers"])
    assert len(report["signals"]) >= 8 and all(site["snr_db"] for site in report["signals"])
    assert all(range_["name"] in text and range_["scale"] > 0 for range_ in report["ranges"])
    for kind in ("float", "int8"):
        assert len(report[kind]["classes"]) == 4
        for row in report[kind]["classes"]:
            assert f"<td>{row['f1']:.4f}</td>" in text
            assert f"<td>{row['precision']:.4f}</td><td>" in text
            assert f"<td>{row['recall']:.4f}</td><td>" in text
    for size in report["size"]["float_bytes"], report["size"]["int8_bytes"]:
        assert f"<td>{size}</td>" in text
    assert [row["batch"] for row in report["latency"]] == [1, 64]
