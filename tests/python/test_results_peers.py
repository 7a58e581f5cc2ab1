"""The peers of scripts/results: their data, their models, the packages they need."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from job_support import last_line, needs_qat, qat
from results_support import module, needs_images
from safetensors.torch import load_file
from torch import nn

LIMIT = 600  # 550 rows to train on: 4 batches


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of a run of the job with one float epoch, and its last line."""
    run = tmp_path_factory.mktemp("peers") / "r"
    keys = [f"data.limit={LIMIT}", "data.augment={flip: true, shift: 1}", "float.epochs=1"]
    keys += ["float.optimizer={lr: 0.05}", "float.schedule={name: constant}", "qat.epochs=1"]
    job = str(module("method_rows").JOB)
    return run, last_line(qat("train", job, f"run={run}", "seed=3", *keys, cwd=run.parent))


def images() -> Any:
    """The peers' data of the same job."""
    return module("peer_data").FashionMnist(3, module("method_rows").Budget(limit=LIMIT))


def initial_model() -> nn.Module:
    """As the command draws it from its seed."""
    torch.manual_seed(3)
    model: nn.Module = module("peer_models").ResNet()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return model.train()


@needs_qat
@needs_images
def test_the_peers_see_the_batches_of_the_command(trained: tuple[Path, dict[str, str]]) -> None:
    """One epoch in PyTorch has the same loss. Batches in another order, or pixels moved otherwise,
    change its third digit; another order of a float32 sum, at most the fifth."""
    lines = (trained[0] / "metrics.jsonl").read_text().splitlines()
    (expected,) = [row for row in map(json.loads, lines) if row["phase"] == "float"]
    model = initial_model()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain}]
    sgd = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for inputs, targets in images().batches(0):
        sgd.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    assert len(losses) == 4
    assert sum(losses) / 4 == pytest.approx(expected["train_loss"], rel=1e-4)


@needs_qat
@needs_images
def test_the_peers_model_is_that_of_the_command(trained: tuple[Path, dict[str, str]]) -> None:
    """The same names, and the same accuracy on the same test data."""
    run, fields = trained
    peers, data = module("peer_models"), images()
    model = peers.ResNet().eval()
    peers.load_float(model, load_file(run / "float.safetensors"))
    _, accuracy = module("peer_training").logits_of(model, data.in_order(data.test))
    assert f"{accuracy:.4f}" == fields["float_accuracy"]


@pytest.mark.parametrize("peer", ["torch.ao", "brevitas"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_peer_starts_from_the_float_model_and_trains(peer: str) -> None:
    make, package = module("peer_training").PEERS[peer]
    pytest.importorskip(package)
    state = initial_model().state_dict()
    model = make(state)
    made = model.state_dict()
    weights = [name for name in state if name.endswith("weight") and state[name].dim() > 1]
    assert len(weights) == 10
    for name in weights:
        assert torch.equal(made[name], state[name]), name
    model(torch.randn(4, 1, 28, 28)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and name in state:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_only_the_weights_of_layers_decay() -> None:
    training, rows = module("peer_training"), module("method_rows")
    decayed, plain = training.optimizer(initial_model(), rows.Budget()).param_groups
    assert (len(decayed["params"]), decayed["weight_decay"]) == (10, 5e-4)
    assert (len(plain["params"]), plain["weight_decay"]) == (19, 0.0)


def test_a_model_that_lacks_a_tensor_is_refused() -> None:
    peers = module("peer_models")
    state = initial_model().state_dict()
    del state["fc.bias"]
    with pytest.raises(ValueError) as error:
        peers.load_float(peers.ResNet(), {**state, "head": torch.zeros(1)})
    assert str(error.value) == "the float model and the peer's differ in fc.bias, head"


@pytest.mark.parametrize("name", ["brevitas", "safetensors"])
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    peers = module("peer_training")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda p: None if p == name else find(p))
    needed = {"--peer": "brevitas", "--seed": "1", "--budget": "{}", "--weights": "w"}
    monkeypatch.setattr(
        sys, "argv", ["peer", *(p for item in needed.items() for p in item), "--run", str(tmp_path)]
    )
    if name == "safetensors":
        monkeypatch.setitem(peers.PEERS, "brevitas", (peers.brevitas, "torch"))
    with pytest.raises(SystemExit) as error:
        peers.main()
    assert str(error.value) == f"the peer brevitas needs the package {name}: pip install {name}"
