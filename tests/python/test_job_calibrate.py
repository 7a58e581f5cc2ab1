"""The steps of calibrate.steps in qat train, the command qat calibrate, and what they refuse."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from job_support import QAT, fails, last_line, needs_qat, qat, write_job

pytestmark = needs_qat

ROWS = 512
LOGITS = f"0/{256 * 4}"
STEPS = {
    "equalize": "steps: [equalize]",
    "batch_norm": "steps: [batch_norm]",
    "bias_correction": "steps: [bias_correction]",
    "adaround": "steps: [adaround], adaround: {iterations: 20, samples: 64}",
    "all": "steps: [equalize, batch_norm, bias_correction, adaround], adaround: {iterations: 20}",
}
LOW_BITS = "recipe={weights: {bits: 4}}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with a whole run r."""
    job = write_job(tmp_path_factory.mktemp("plain"), rows=ROWS)
    last_line(qat("train", "job.yaml", "run=r", cwd=job.parent))
    return job.parent


def calibrate(folder: Path, run: Path, *overrides: str) -> dict[str, str]:
    return last_line(qat("calibrate", "r", f"run={run}", *overrides, cwd=folder))


@pytest.mark.parametrize("steps", STEPS)
def test_every_step_ships_a_model_that_is_verified(plain: Path, tmp_path: Path, steps: str) -> None:
    """From the float model of a run: that model stays, the int8 one is not the plain one's."""
    bare = calibrate(plain, tmp_path / "bare", LOW_BITS)
    fields = calibrate(plain, tmp_path / "s", LOW_BITS, f"calibrate={{batches: 4, {STEPS[steps]}}}")
    assert fields["differing_logits"] == bare["differing_logits"] == LOGITS
    assert fields["float_accuracy"] == bare["float_accuracy"]
    floats = [(run / "float.safetensors").read_bytes() for run in (plain / "r", tmp_path / "s")]
    assert floats[0] == floats[1]
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("bare", "s")]
    assert models[0] != models[1]
    report = json.loads((tmp_path / "s/report.json").read_text())
    assert report["verify"]["differing_parameters"] == 0


def test_a_calibrated_run_is_a_run_like_others(plain: Path, tmp_path: Path) -> None:
    """Its default folder, every command that takes a run, and its file on its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    steps = f"calibrate={{batches: 4, {STEPS['all']}}}"
    result = qat("calibrate", str(plain / "r"), steps, cwd=folder)
    fields = last_line(result)
    run = folder / "runs/job-calibrated"
    lines = result.stdout.splitlines()
    order = [line.split(":")[0] for line in lines if ": " in line]
    assert order[:6] == [
        "float",
        "equalize",
        "calibrate",
        "batch_norm",
        "bias_correction",
        "adaround",
    ]
    assert "calibrate: ranges observed on 4 batches" in lines
    verified = last_line(qat("verify", str(run), cwd=folder))
    assert verified == {"differing_logits": LOGITS, "differing_parameters": "0"}
    evaluated = last_line(qat("evaluate", str(run), cwd=folder))
    assert evaluated == {name: fields[name] for name in ("float_accuracy", "int8_accuracy")}
    assert qat("inspect", str(run / "model.safetensors"), cwd=folder).returncode == 0
    alone = last_line(qat("evaluate", str(run / "model.safetensors"), cwd=folder))
    assert alone["int8_accuracy"] == fields["int8_accuracy"]


def test_a_job_is_trained_in_float_first(plain: Path, tmp_path: Path) -> None:
    """The same files as from the run's float model, since both phases are repeatable."""
    steps = f"calibrate={{batches: 4, {STEPS['adaround']}}}"
    of_run = calibrate(plain, tmp_path / "a", steps)
    of_job = last_line(qat("calibrate", "job.yaml", f"run={tmp_path / 'b'}", steps, cwd=plain))
    for fields in (of_run, of_job):
        fields.pop("size_ratio")  # the int8 file holds the job with its name
    assert of_run == of_job
    for name in ("float.safetensors", "checkpoints/best_qat.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_train_takes_the_steps_before_its_qat_phase(plain: Path, tmp_path: Path) -> None:
    """Also after a stop between the two phases the files are those of a whole run."""
    steps = f"calibrate={{batches: 4, {STEPS['all']}}}"
    weights = f"weights={plain / 'r/float.safetensors'}"
    result = qat("train", "job.yaml", f"run={tmp_path / 'w'}", steps, weights, cwd=plain)
    fields = last_line(result)
    assert fields["differing_logits"] == LOGITS
    names = [line.split(":")[0] for line in result.stdout.splitlines()]
    assert [name.split(" ")[0] for name in names].index("qat") > names.index("adaround")
    process = subprocess.Popen(
        [str(QAT), "train", "job.yaml", f"run={tmp_path / 'h'}", steps, weights],
        cwd=plain,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("bias_correction"):
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.close()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert last_line(qat("resume", str(tmp_path / "h"), cwd=plain)) == fields
    best = "checkpoints/best_qat.safetensors"
    assert (tmp_path / "h" / best).read_bytes() == (tmp_path / "w" / best).read_bytes()


def test_steps_win_back_accuracy_at_few_bits(plain: Path, tmp_path: Path) -> None:
    """3 bits: the plain model loses a lot. 256 rows: a standard deviation is at most 0.03."""
    recipe = "recipe={weights: {bits: 3}}"
    bare = calibrate(plain, tmp_path / "bare", recipe)
    steps = "steps: [batch_norm, bias_correction, adaround], adaround: {iterations: 100}"
    better = calibrate(plain, tmp_path / "s", recipe, f"calibrate={{batches: 8, {steps}}}")
    assert float(better["int8_accuracy"]) >= float(bare["int8_accuracy"])
    assert float(better["int8_accuracy"]) > float(better["float_accuracy"]) - 0.1


ERRORS = {
    "calibrate={steps: [equalise]}": "calibrate.steps: expected one of equalize, batch_norm, "
    "bias_correction, adaround, found 'equalise'; did you mean 'equalize'?",
    "calibrate={steps: [prune]}": "calibrate.steps: expected one of equalize, batch_norm, "
    "bias_correction, adaround, found 'prune'",
    "calibrate={steps: equalize}": "calibrate.steps: expected a list of steps out of equalize, "
    "batch_norm, bias_correction, adaround, found 'equalize'",
    "calibrate={steps: [adaround, adaround]}": "calibrate.steps: 'adaround' is given twice",
    "calibrate={adaround: {lr: 0.1}}": "calibrate.adaround: belongs to the step adaround, which "
    "calibrate.steps does not list",
    "calibrate={steps: [adaround], adaround: {iterations: 0}}": "calibrate.adaround.iterations: "
    "expected an integer from 1 to 1000000, found '0'",
    "calibrate={steps: [adaround], adaround: {rate: 1}}": "calibrate.adaround: unknown key 'rate'; "
    "the keys here are iterations, lr, regularizer, beta_start, beta_end, warmup, batch, samples",
}


@pytest.mark.parametrize("override", ERRORS)
@pytest.mark.parametrize("command", ["train", "calibrate"])
def test_mistakes_name_the_key_and_what_is_known(
    plain: Path, tmp_path: Path, command: str, override: str
) -> None:
    result = qat(command, "job.yaml", f"run={tmp_path / 'r'}", override, cwd=plain)
    fails(result, 2, f"command line: {override}: error: {ERRORS[override]}")


def test_what_cannot_be_calibrated(plain: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(plain / "r", empty)
    (empty / "float.safetensors").unlink()
    fails(
        qat("calibrate", "empty", cwd=tmp_path),
        2,
        f"empty: error: the run has no float model yet, {empty}/float.safetensors; finish it with "
        "'qat resume'",
    )
    fails(
        qat("calibrate", ".", cwd=plain),
        2,
        f".: error: expected a run folder, but there is no {plain}/checkpoints",
    )


@pytest.mark.parametrize("override", ["qat.epochs=1", "qat={epochs: 1}"])
def test_calibration_does_not_train(plain: Path, tmp_path: Path, override: str) -> None:
    result = qat("calibrate", "r", f"run={tmp_path / 'c'}", override, cwd=plain)
    key = override.partition("=")[0]
    fails(
        result,
        2,
        f"command line: {override}: error: {key}: 'qat calibrate' does not train; leave the key "
        "out, or use 'qat train'",
    )
    assert not (tmp_path / "c").exists()


UNROUNDABLE = {
    "recipe={weights: {bits: 4, method: dorefa}}": "recipe.weights: the weight method 'dorefa' "
    "does not give back the codes that adaround writes; use absmax, mse, lsq or tqt",
    "recipe={weights: {bits: 4, symmetric: false}}": "recipe.weights: weights in groups or with "
    "zero points: what the weight recipe measures does not give back the codes that adaround "
    "writes; set granularity: channel or tensor, and symmetric: true",
    "recipe={weights: {granularity: tensor}, cluster: {values: 16}}": "recipe.cluster: weights "
    "that share values cannot be rounded one by one; leave out the step adaround or the section",
}


@pytest.mark.parametrize("recipe", UNROUNDABLE)
def test_weights_that_adaround_cannot_round_are_refused_up_front(
    plain: Path, tmp_path: Path, recipe: str
) -> None:
    run = tmp_path / "r"
    keys = (f"run={run}", recipe, "calibrate={steps: [adaround]}")
    result = qat("calibrate", "job.yaml", *keys, cwd=plain)
    fails(result, 2, f"command line: {recipe}: error: {UNROUNDABLE[recipe]}")
    assert not run.exists()
