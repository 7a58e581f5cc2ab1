#!/usr/bin/env python3
"""Trains one peer from our float model with the budget of our rows; methods.py runs it.

Writes RUN/measured.json. Exit status 1: a package is missing, which the message names.
"""

import argparse
import importlib.util
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from method_rows import Budget
from method_store import Measured, write_whole
from peer_data import FashionMnist
from peer_models import ResNet, brevitas, load_float, torch_ao
from torch import nn

Forward = Callable[[torch.Tensor], torch.Tensor]
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]

# How a peer is made, and the package that it needs.
PEERS = {"torch.ao": (torch_ao, "torch"), "brevitas": (brevitas, "brevitas")}


@torch.no_grad()
def logits_of(forward: Forward, batches: Batches) -> tuple[torch.Tensor, float]:
    """All logits, and the accuracy."""
    logits, hits, seen = [], 0, 0
    for inputs, targets in batches:
        logits.append(forward(inputs))
        hits += int(logits[-1].argmax(1).eq(targets).sum())
        seen += len(targets)
    return torch.cat(logits), hits / seen


def optimizer(model: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    """SGD that decays the weights of layers alone: no biases, no norms, no scales."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        layer = name.endswith(".weight") and "_quant" not in name and parameter.dim() > 1
        (decayed if layer else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": budget.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=budget.lr, momentum=budget.momentum, nesterov=True)


def freeze(model: nn.Module, share: float, budget: Budget) -> None:
    """Stops batch norm and observers at the shares of the steps where our rows do."""
    from torch.ao.nn.intrinsic.qat import freeze_bn_stats
    from torch.ao.quantization import disable_observer

    if share >= budget.freeze_batch_norm:
        model.apply(freeze_bn_stats)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    if share >= budget.freeze_ranges:
        model.apply(disable_observer)


def train(model: nn.Module, data: FashionMnist, budget: Budget) -> float:
    """All epochs; mean seconds of one, with its validation as in our rows."""
    sgd = optimizer(model, budget)
    steps, step, seconds = budget.qat_epochs * data.steps(), 0, 0.0
    for epoch in range(budget.qat_epochs):
        started = time.monotonic()
        model.train()
        for inputs, targets in data.batches(epoch):
            freeze(model, step / steps, budget)
            rate = budget.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in sgd.param_groups:
                group["lr"] = rate
            sgd.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            sgd.step()
            step += 1
        model.eval()
        _, accuracy = logits_of(model, data.in_order(data.validation))
        seconds += time.monotonic() - started
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, validation {accuracy:.4f}", flush=True)
    return seconds / budget.qat_epochs


def file_size(state: dict[str, Any]) -> int:
    """Bytes of the state as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.tell()


def measure(peer: str, seed: int, budget: Budget, weights: Path) -> Measured:
    """Trains the peer and measures it on the test data, its integer model if it has one."""
    from safetensors.torch import load_file

    state = load_file(weights)
    torch.manual_seed(seed)
    data = FashionMnist(seed, budget)
    floating = ResNet().eval()
    load_float(floating, state)
    _, float_accuracy = logits_of(floating, data.in_order(data.test))
    model = PEERS[peer][0](state)
    seconds = train(model, data, budget)
    logits, accuracy = logits_of(model.eval(), data.in_order(data.test))
    measured = Measured(
        float_accuracy=float_accuracy,
        int8_accuracy=accuracy,
        size_ratio=None,
        int8_bytes=None,
        seconds_per_epoch=seconds,
        differing_logits=None,
        logits=None,
    )
    if peer == "torch.ao":
        from torch.ao.quantization import convert

        torch.backends.quantized.engine = "x86"
        integer = convert(model)
        shipped, accuracy = logits_of(integer, data.in_order(data.test))
        size = file_size(integer.state_dict())
        measured["int8_accuracy"] = accuracy
        measured["int8_bytes"] = size
        measured["size_ratio"] = size / weights.stat().st_size
        measured["differing_logits"] = int((shipped != logits).sum())
        measured["logits"] = logits.numel()
    return measured


def main() -> None:
    """Fails with one line where a package is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--budget", type=json.loads, required=True, help="a Budget as JSON")
    parser.add_argument("--weights", type=Path, required=True, help="our float.safetensors")
    parser.add_argument("--run", type=Path, required=True, help="folder for measured.json")
    given = parser.parse_args()
    for package in (PEERS[given.peer][1], "safetensors"):
        if importlib.util.find_spec(package) is None:
            sys.exit(f"the peer {given.peer} needs the package {package}: pip install {package}")
    measured = measure(given.peer, given.seed, Budget(**given.budget), given.weights)
    write_whole(given.run / "measured.json", json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
