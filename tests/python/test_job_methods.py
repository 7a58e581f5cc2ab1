"""Jobs with the sections distill and adversarial: what they change and keep, how they fail."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from job_support import fails, last_line, needs_qat, qat, stop_when, write_job
from safetensors.numpy import load_file

pytestmark = needs_qat

ROWS = 256
LOGITS = f"0/{ROWS * 4}"
FEATURES = "features: [{site: layer1.0.relu}, {site: layer2.0.relu_1, weight: 0.5}]"
METHODS = {
    "distill": ["distill={temperature: 2, weight: 0.7}"],
    "features": [f"distill={{{FEATURES}}}"],
    "pgd": ["adversarial={epsilon: 0.1, steps: 2}"],
    "fgsm_in_qat_beside_clean": ["adversarial={method: fgsm, weight: 0.5, phases: [qat]}"],
    "both": [f"distill={{{FEATURES}}}", "adversarial={epsilon: 0.1, steps: 2, weight: 0.5}"],
    "both_at_4_bits": ["distill={}", "adversarial={steps: 1}", "recipe={weights: {bits: 4}}"],
    "both_in_bfloat16": ["distill={}", "adversarial={steps: 1}", "float.amp=bfloat16"],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with a whole run r that has none of the sections."""
    job = write_job(tmp_path_factory.mktemp("plain"), rows=ROWS)
    last_line(qat("train", "job.yaml", "run=r", cwd=job.parent))
    return job.parent


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ships_what_it_trained(plain: Path, tmp_path: Path, method: str) -> None:
    """Bit-equal models, another one than without the section, and the float model only where the
    float phase is attacked."""
    run = tmp_path / "r"
    fields = last_line(qat("train", "job.yaml", f"run={run}", *METHODS[method], cwd=plain))
    assert fields["differing_logits"] == LOGITS
    report = json.loads((run / "report.json").read_text())
    assert report["verify"]["differing_parameters"] == 0
    assert float(fields["int8_accuracy"]) > 0.4  # as in test_job_kinds.check_whole_run
    same = {
        name: (run / name).read_bytes() == (plain / "r" / name).read_bytes()
        for name in ("float.safetensors", "checkpoints/best_qat.safetensors")
    }
    float_alone = method in ("distill", "features", "fgsm_in_qat_beside_clean")
    assert same == {"float.safetensors": float_alone, "checkpoints/best_qat.safetensors": False}
    attacked = "float_robust_accuracy" in fields
    assert attacked == any("adversarial" in override for override in METHODS[method])
    assert (report["robustness"] is not None) == attacked
    assert ("Accuracy under PGD-10" in (run / "report.html").read_text()) == attacked


@pytest.mark.parametrize(("rows", "number"), [(2, signal.SIGTERM), (18, signal.SIGINT)])
def test_a_stopped_run_resumes_to_identical_files(
    tmp_path: Path, rows: int, number: signal.Signals
) -> None:
    """Stopped in the float phase and in the qat phase; see test_job_runs for the lines."""
    job = write_job(tmp_path)
    job.write_text(
        job.read_text()
        + f"distill: {{{FEATURES}}}\nadversarial: {{steps: 1, weight: 0.5, epsilon: 0.05}}\n"
    )
    whole = qat("train", "job.yaml", "run=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    stop_when(job, "halved", rows, number)
    resumed = qat("resume", "halved", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    for name in ("float.safetensors", "model.safetensors", "checkpoints/best_qat.safetensors"):
        halved, unbroken = (tmp_path / run / name for run in ("halved", "whole"))
        assert halved.read_bytes() == unbroken.read_bytes(), name


def test_training_on_attacked_inputs_makes_robust(plain: Path) -> None:
    """At this distance a model that never saw an attack loses most of what it has."""
    attack = ("--attack", "pgd", "--epsilon", "0.15")
    before = last_line(qat("evaluate", "r", *attack, cwd=plain))
    overrides = ("run=robust", "adversarial={epsilon: 0.15, steps: 4}", "float.epochs=6")
    trained = last_line(qat("train", "job.yaml", *overrides, cwd=plain))
    for kind in ("float", "int8"):
        name = f"{kind}_robust_accuracy"
        # 256 rows: a standard deviation is at most 0.03.
        assert float(trained[name]) > float(before[name]) + 0.1
    # The same attack on the same rows, asked for again.
    again = last_line(qat("evaluate", "robust", *attack, cwd=plain))
    assert again == {name: trained[name] for name in again} and len(again) == 2
    report = json.loads((plain / "robust/report.json").read_text())["robustness"]
    assert (report["attack"], report["epsilon"], report["steps"]) == ("pgd", 0.15, 10)
    assert f"{report['int8_accuracy']:.4f}" == trained["int8_robust_accuracy"]


def test_a_stronger_attack_finds_more(plain: Path) -> None:
    def robust(*attack: str) -> float:
        line = last_line(qat("evaluate", "r", *attack, cwd=plain))
        return float(line["int8_robust_accuracy"])

    clean = json.loads((plain / "r/report.json").read_text())["int8"]["accuracy"]
    near = robust("--attack", "fgsm", "--epsilon", "0.02")
    far = robust("--attack", "pgd", "--epsilon", "0.2", "--steps", "20")
    assert far < near <= clean


def test_a_run_or_its_file_teaches_another_model(plain: Path, tmp_path: Path) -> None:
    """The run of another job teaches a smaller model; trained on soft targets alone (weight 1)."""
    overrides = ("model={name: resnet, depth: 8, width: 4}", "qat.epochs=3")
    teacher = f"distill={{teacher: {plain / 'r'}, weight: 1}}"
    fields = last_line(
        qat("train", "job.yaml", f"run={tmp_path / 'r'}", *overrides, teacher, cwd=plain)
    )
    assert fields["differing_logits"] == LOGITS
    file = f"distill={{teacher: {plain / 'r/float.safetensors'}, weight: 1}}"
    again = qat("train", "job.yaml", f"run={tmp_path / 's'}", *overrides, file, cwd=plain)
    assert last_line(again)["int8_accuracy"] == fields["int8_accuracy"]
    best = [load_file(tmp_path / run / "checkpoints/best_qat.safetensors") for run in ("r", "s")]
    assert all(np.array_equal(best[0][name], best[1][name]) for name in best[0])


ERRORS = {
    "distill={features: [{site: layer1.0.rleu}]}": "distill.features[0].site: the model has no "
    "site 'layer1.0.rleu'; did you mean 'layer1.0.relu'?",
    "distill={teacher: nowhere}": "distill.teacher: expected float, the folder of a run or its "
    "float.safetensors, but there is no {folder}/nowhere",
    "distill={teacher: narrow}": None,
    "distill={teacher: narrow, features: [{site: layer1.0.relu}]}": "distill.features[0].site: "
    "'layer1.0.relu' is [4, 8, 8, 8] in the model, but [4, 4, 8, 8] in the teacher",
}


@pytest.fixture(scope="module")
def narrow(plain: Path) -> None:
    """A run of a narrower model beside the other."""
    overrides = ("run=narrow", "model={name: resnet, depth: 8, width: 4}", "float.epochs=1")
    last_line(qat("train", "job.yaml", *overrides, cwd=plain))


@pytest.mark.parametrize("override", ERRORS)
@pytest.mark.usefixtures("narrow")
def test_what_cannot_be_distilled_is_said_before_training(
    plain: Path, tmp_path: Path, override: str
) -> None:
    result = qat("train", "job.yaml", f"run={tmp_path / 'r'}", override, cwd=plain)
    message = ERRORS[override]
    if message is None:
        last_line(result)
        return
    fails(result, 2, f"command line: {override}: error: {message.format(folder=plain)}")
    assert not (tmp_path / "r/float.safetensors").exists()


def test_a_teacher_of_other_classes_names_both(plain: Path, tmp_path: Path) -> None:
    overrides = (f"run={tmp_path / 'r'}", "data.classes=5", "distill={teacher: r}")
    fails(
        qat("train", "job.yaml", *overrides, cwd=plain),
        2,
        f"command line: distill={{teacher: r}}: error: distill.teacher: {plain}/r/float.safetensors"
        " does not fit samples of [1, 8, 8] in 5 classes: its tensor 'fc.weight' is [4, 32], the "
        "teacher's model needs [5, 32]; give the job the model and the data that the file was "
        "trained with, or another file",
    )


def test_an_attack_needs_gradients_and_its_own_options(plain: Path) -> None:
    model = "r/model.safetensors"
    fails(
        qat("evaluate", model, "--attack", "pgd", cwd=plain),
        2,
        f"{model}: error: --attack needs the folder of a run: an int8 model alone has no "
        "gradients to attack it with",
    )
    fails(
        qat("evaluate", "r", "--attack", "fgsm", "--steps", "3", cwd=plain),
        2,
        "--steps: error: belongs to --attack pgd, not to fgsm",
    )
    fails(
        qat("evaluate", "r", "--epsilon", "0.1", cwd=plain),
        2,
        "qat: error: --epsilon requires --attack; see 'qat evaluate --help'",
    )
