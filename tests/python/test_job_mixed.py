"""qat sensitivity and qat search: what they measure, write, keep and refuse."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from job_support import fails, last_line, needs_qat, qat, write_job
from safetensors.numpy import load_file

pytestmark = needs_qat

ROWS = 256  # of the test data
TRAINING = 1024
# A perceptron on 8 x 8 images: seconds, and enough of a float model to lose something at 2 bits.
MLP = ["model={name: mlp, hidden: [32, 16]}", "data.augment={}"]
LAYERS = [("layers.0_1", 64 * 32), ("layers.1_1", 32 * 16), ("head_1", 16 * 4)]
WEIGHTS = sum(count for _, count in LAYERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with the run `r` of a perceptron that was made by `qat search JOB`."""
    job = write_job(tmp_path_factory.mktemp("mixed"), rows=TRAINING)
    found = qat(
        "search", "job.yaml", "--size", "1", "--out", "first.yaml", "run=r", *MLP, cwd=job.parent
    )
    last_line(found)
    return job.parent


def table(folder: Path, *arguments: str) -> dict:
    """The numbers of `qat sensitivity r`."""
    result = qat("sensitivity", "r", "--json", "s.json", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "s.json").read_text())


def test_a_job_is_trained_in_float_and_can_go_on(folder: Path) -> None:
    """The run that the search made has a float model and no int8 model; resume finishes it."""
    assert (folder / "r" / "float.safetensors").exists()
    assert not (folder / "r" / "model.safetensors").exists()
    assert last_line(qat("resume", "r", cwd=folder))["differing_logits"] == f"0/{ROWS * 4}"


def test_the_numbers_of_every_layer(folder: Path) -> None:
    """MACs and parameters of a perceptron are one number; nothing is lost at 8 bits; the same call
    gives the same bytes; two bits move the loss most."""
    first = table(folder, "--bits", "8,2,4,2")
    text = (folder / "s.json").read_bytes()
    table(folder, "--bits", "2,4,8")
    assert (folder / "s.json").read_bytes() == text
    assert first["method"] == "loss"
    assert first["bits"] == [2, 4, 8]
    for site, (name, weights) in zip(first["sites"], LAYERS, strict=True):
        assert (site["sites"], site["parameters"], site["macs"]) == ([name], weights, weights)
        assert site["sensitivity"]["8"] == 0
    assert [site["first_or_last"] for site in first["sites"]] == [True, False, True]
    moved = {
        bits: sum(abs(site["sensitivity"][bits]) for site in first["sites"]) for bits in ("2", "4")
    }
    assert moved["2"] > 2 * moved["4"] > 0


def test_fewer_rows_are_other_numbers(folder: Path) -> None:
    assert table(folder, "--bits", "2", "--rows", "10")["rows"] == 10
    held_out = table(folder, "--bits", "2")["rows"]
    assert held_out == TRAINING // 12


def test_the_found_recipe_is_measured_as_the_sensitivity_was(folder: Path) -> None:
    """Where only one layer may change, and to 4 bits alone, the loss of the recipe is the loss at 8
    bits and the sensitivity: one arithmetic on the same rows, printed with 6 digits."""
    numbers = table(folder, "--bits", "4")
    (middle,) = (site for site in numbers["sites"] if not site["first_or_last"])
    fields = last_line(
        qat("search", "r", "--size", "1", "--bits", "4", "--out", "one.yaml", cwd=folder)
    )
    expected = numbers["eight_bit_loss"] + middle["sensitivity"]["4"]
    assert float(fields["loss"]) == pytest.approx(expected, abs=0.6e-6)
    assert float(fields["predicted_increase"]) == pytest.approx(
        middle["sensitivity"]["4"], abs=0.6e-6
    )
    assert fields["bytes"] == str(LAYERS[0][1] + LAYERS[1][1] // 2 + LAYERS[2][1])


@pytest.mark.parametrize("method", ["loss", "hessian"])
def test_a_model_trained_with_the_found_recipe_is_equal(folder: Path, method: str) -> None:
    """The budget holds in the int8 file itself, whose weights are packed."""
    out = f"{method}.yaml"
    fields = last_line(
        qat(
            *("search", "r", "--method", method, "--size", "0.5", "--all", "--out", out),
            *("--plot", f"{method}.svg"),
            cwd=folder,
        )
    )
    assert int(fields["bytes"]) <= WEIGHTS // 2
    text = (folder / out).read_text()
    assert text.startswith("# Mixed precision, found by qat search")
    assert f"# budget: {WEIGHTS // 2} bytes of weights, 0.5000 of those with 8 bits" in text
    assert 'name: "int8-mixed"\nrules:\n  - {sites: "layers.0_1", weight_bits: ' in text
    assert "keep_float" not in text  # keys at their default are left out
    run = f"run=t-{method}"
    trained = last_line(qat("train", "job.yaml", run, f"recipe={out}", *MLP, cwd=folder))
    assert trained["differing_logits"] == f"0/{ROWS * 4}"
    tensors = load_file(folder / f"t-{method}" / "model.safetensors")
    weights = [tensor.nbytes for name, tensor in tensors.items() if name.endswith("weight")]
    # Channels that training left at zero are not in the file.
    assert 0 < sum(weights) <= int(fields["bytes"])
    assert ElementTree.parse(folder / f"{method}.svg").getroot().tag.endswith("svg")


def test_bits_of_activations_and_bit_operations(folder: Path) -> None:
    """What a layer reads changes with it, and counts in the bit operations: MACs * bits * bits."""
    arguments = ("search", "r", "--activations", "--all", "--bits", "4")
    fields = last_line(qat(*arguments, "--bops", "0.25", "--out", "a.yaml", cwd=folder))
    assert fields["bit_operations"] == str(WEIGHTS * 16)
    plan = qat("plan", "job.yaml", "recipe=a.yaml", *MLP, cwd=folder).stdout
    bits = {line.split()[0]: line.split()[3] for line in plan.splitlines() if " per " in line}
    assert set(bits.values()) == {"u4", "s4"}, plan


def test_the_hessian_has_a_trace_and_its_error(folder: Path) -> None:
    """16 random vectors; the number of them moves the estimate, the job's seed fixes it."""
    first, again = (table(folder, "--method", "hessian", "--bits", "2,8") for _ in range(2))
    assert first == again
    more = table(folder, "--method", "hessian", "--bits", "2,8", "--samples", "64")
    for one, other in zip(first["sites"], more["sites"], strict=True):
        assert one["trace_standard_error"] > other["trace_standard_error"] > 0
        # Independent but for 16 of 64 vectors; five standard errors of the less exact one.
        assert abs(one["trace"] - other["trace"]) < 5 * one["trace_standard_error"]
        # The squared error of rounding falls by 2^12 from 2 to 8 bits, more or less.
        assert one["sensitivity"]["2"] > 500 * one["sensitivity"]["8"] > 0


def test_an_existing_recipe_is_kept(folder: Path) -> None:
    out = folder / "kept.yaml"
    out.write_text("mine")
    arguments = ("search", "r", "--size", "1", "--out", "kept.yaml")
    message = "--out: error: kept.yaml exists; name another file, or replace it with --force"
    fails(qat(*arguments, cwd=folder), 2, message)
    assert out.read_text() == "mine"
    last_line(qat(*arguments, "--force", cwd=folder))
    assert out.read_text().startswith("# Mixed precision")


SEARCH = ("search", "r", "--out", "x.yaml")
MISTAKES = {
    "no budget": (SEARCH, "qat search: error: a budget is needed; give --size or --bops"),
    "both budgets": (
        (*SEARCH, "--size", "1", "--bops", "1"),
        "qat: error: --size excludes --bops; see 'qat search --help'",
    ),
    "too small": (
        (*SEARCH, "--size", "100"),
        f"--size: error: expected at least {64 * 32 + 32 * 16 // 4 + 64} bytes, what these bits "
        "can reach, got 100; allow fewer with --bits, or --all for the first and the last layer",
    ),
    "no folder": (
        ("search", "r", "--size", "1", "--out", "/nowhere/x.yaml"),
        "--out: error: there is no folder /nowhere; make it or name another",
    ),
    "a folder": (
        ("search", "r", "--size", "1", "--out", "r"),
        "--out: error: r is a folder; name a file in it",
    ),
    "Hessian of activations": (
        ("sensitivity", "r", "--method", "hessian", "--activations"),
        "--activations: error: the Hessian is that of the weights; give --method loss",
    ),
    "no run": (
        ("sensitivity", "/tmp"),
        "/tmp: error: expected a run folder, but there is no /tmp/job.yaml",
    ),
    "bits": (
        ("sensitivity", "r", "--bits", "4,9"),
        "qat: error: --bits: Value 9 not in range 2 to 8; see 'qat sensitivity --help'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(folder: Path, mistake: str) -> None:
    arguments, message = MISTAKES[mistake]
    result = qat(*arguments, cwd=folder)
    fails(result, 2, message)
    assert not (folder / "x.yaml").exists()


def test_a_run_without_a_float_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "e" / "checkpoints").mkdir(parents=True)
    (tmp_path / "e" / "job.yaml").write_text((folder / "r" / "job.yaml").read_text())
    message = (
        f"e: error: there is no {tmp_path}/e/float.safetensors; finish the float phase with "
        "'qat resume'"
    )
    fails(qat("sensitivity", "e", cwd=tmp_path), 2, message)
