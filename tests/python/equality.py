"""Every form of one model gives the same bits: the check that the equality tests share."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import qat_ext as qat
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclasses.dataclass
class Result:
    """What :func:`check` made on its way."""

    qmodel: Any
    int8: Any
    file: Any  # the oracle's reading of the checkpoint
    operators: set[str]
    gradients: dict[str, torch.Tensor]  # of the first step


def flat(output: Any) -> list[torch.Tensor]:
    """The tensors of a result in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    values = output.values() if isinstance(output, Mapping) else output
    return [tensor for value in values for tensor in flat(value)]


def call(model: Any, example: Any) -> list[torch.Tensor]:
    """`model` on an example in one of the forms that qat.prepare takes."""
    if isinstance(example, torch.Tensor):
        return flat(model(example))
    if isinstance(example, Mapping):
        return flat(model(**example))
    return flat(model(*example))


def same_bits(ours: list[torch.Tensor], theirs: list[torch.Tensor], what: str) -> None:
    """Equal also in the sign of zero; NaN would fail the caller's check for finite logits."""
    assert len(ours) == len(theirs), what
    for index, (a, b) in enumerate(zip(ours, theirs)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{what}: output {index}"
        if a.dtype == torch.float32:
            a, b = (t.detach().contiguous().view(torch.int32) for t in (a, b))
        differing = int((a != b).sum())
        assert differing == 0, f"{what}: output {index}: {differing} of {a.numel()} differ"


def loss_of(outputs: list[torch.Tensor]) -> torch.Tensor:
    """A loss in which every output, and every element of it, weighs differently."""
    total = torch.zeros(())
    for output in outputs:
        if output.is_floating_point():
            weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
            total = total + (output.float() * weights).sum() / output.shape[0]
            total = total + output.float().square().mean()
    return total


def gradients(model: nn.Module, example: Any) -> dict[str, torch.Tensor]:
    """The gradient of every parameter that gets one."""
    model.zero_grad(set_to_none=True)
    loss_of(call(model, example)).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def train(qmodel: nn.Module, examples: list[Any], rate: float) -> dict[str, torch.Tensor]:
    """An ordinary loop; gives the gradients of its first step."""
    optimizer = torch.optim.SGD(qmodel.parameters(), rate)
    first: dict[str, torch.Tensor] = {}
    for example in examples:
        made = gradients(qmodel, example)
        first = first or {name: gradient.clone() for name, gradient in made.items()}
        optimizer.step()
    return first


def by_torch(node: Any, inputs: list[np.ndarray], arguments: list[Any]) -> list[np.ndarray]:
    """The oracle's evaluator for `aten` nodes: torch itself, on contiguous tensors."""
    name, _, overload = node.attributes["schema"].removeprefix("aten::").partition(".")
    operator = getattr(getattr(torch.ops.aten, name), overload or "default")

    def value(argument: Any) -> Any:
        if isinstance(argument, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(argument).reshape(argument.shape))
        if isinstance(argument, list):
            return [value(item) for item in argument]
        return argument

    positional, keywords = [], {}
    for declared, argument in zip(operator._schema.arguments, arguments, strict=True):
        if declared.kwarg_only:
            keywords[declared.name] = value(argument)
        else:
            positional.append(value(argument))
    # One definition of attention out of torch's several: the written-out one.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        return [tensor.numpy() for tensor in flat(operator(*positional, **keywords))]


def arrays(example: Any) -> list[np.ndarray]:
    """The example's tensors for the oracle."""
    if isinstance(example, torch.Tensor):
        example = (example,)
    items = example.values() if isinstance(example, Mapping) else example
    return [item.numpy() for item in items]


def check(
    model: nn.Module,
    example: Any,
    recipe: Any = "int8",
    folder: Path | None = None,
    *,
    others: tuple[Any, ...] = (),
    batches: tuple[Any, ...] = (),
    rate: float = 1e-3,
    fraction: float = 0.95,
) -> Result:
    """Prepares, trains and converts `model`, and compares every form of it bit for bit.

    Args:
        others: further inputs, as of another batch size, for the comparison.
        batches: to train on; two times the example unless given.
        rate: of the training; 0 keeps the parameters.
        folder: where the checkpoint is written; without it, the file is left out.
        fraction: the least share of multiply-accumulates in integers.
    """
    qmodel = qat.prepare(model, example, recipe)
    modes = [(module, module.training) for module in model.modules()]
    first = train(qmodel, list(batches or (example, example)), rate)
    qmodel.eval()
    int8 = qat.convert(qmodel)
    loaded = file = None
    if folder is not None:
        int8.save(folder / "model.safetensors")
        loaded = qat.load(folder / "model.safetensors")
        file = oracle.load(folder / "model.safetensors")
    expected = {}
    for index, inputs in enumerate((example, *others)):
        with torch.no_grad():
            expected[index] = call(qmodel, inputs)
        _compare(expected[index], int8, loaded, file, inputs)
        assert int8.integer_fraction() >= fraction, int8.integer_fraction()
    assert qat.verify(qmodel, int8, [example, *others]).equal
    qat.step(qmodel, 1.0)
    for module, training in modes:
        module.training = training
    for index, inputs in enumerate((example, *others)):
        same_bits(call(qmodel, inputs), expected[index], "train() with everything frozen")
    operators = {operator for _, operator in int8.nodes()}
    return Result(qmodel.eval(), int8, file, operators, first)


def check_with_gradients(model: nn.Module, example: Any, *args: Any, **keywords: Any) -> Result:
    """:func:`check`, and every parameter that has a gradient in float has one here."""
    expected = gradients(copy.deepcopy(model), example)
    result = check(model, example, *args, **keywords)
    ours = {name.removeprefix("model."): g for name, g in result.gradients.items()}
    for name, gradient in expected.items():
        assert name in ours, f"{name}: no gradient"
        assert bool(ours[name].isfinite().all()), f"{name}: a gradient is not finite"
        # A bias before batch norm has only rounding noise in float.
        if float(gradient.abs().max()) > 1e-4:
            assert bool(ours[name].any()), f"{name}: all gradients are zero"
    assert set(ours) == set(expected)
    return result


def _compare(expected: list[torch.Tensor], int8: Any, loaded: Any, file: Any, inputs: Any) -> None:
    for tensor in expected:
        assert bool(tensor.isfinite().all()), "a logit is not finite"

    def reference(*args: Any, **kwargs: Any) -> Any:
        return int8.run(*args, executor="reference", **kwargs)

    same_bits(call(reference, inputs), expected, "reference executor")
    same_bits(call(int8, inputs), expected, "fast executor")
    if loaded is not None:
        same_bits(call(loaded, inputs), expected, "reloaded model")
        result = oracle.run(file, arrays(inputs), by_torch)
        same_bits([torch.from_numpy(np.array(r)) for r in result], expected, "oracle")
