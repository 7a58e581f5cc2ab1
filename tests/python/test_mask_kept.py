"""Where the quantizer alone bends a gradient, one bit per element is kept, and the gradients are
those of separate passes (`fused: false`), which keep real values."""

import pytest
import qat_ext as qat
import torch
from torch import nn


class Net(nn.Module):
    """Real values, sums of layers and of both, each into a quantizer with nothing in between."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(24)
        self.first, self.second, self.third = (nn.Linear(24, 24) for _ in range(3))
        self.last = nn.Linear(24, 5)
        for parameter in self.norm.parameters() if frozen else ():
            parameter.requires_grad_(False)

    def forward(self, x):
        real = self.norm(x)
        left = self.second(self.first(real))
        return self.last(self.third(left + real) + left)


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        first = self.first(x)
        return self.second(first + 0.5 * self.second(first))


MODELS = {
    "rows": lambda: (Net(False), torch.randn(4, 7, 24)),
    "frozen norm": lambda: (Net(True), torch.randn(4, 7, 24)),
    "image": lambda: (Image(), torch.randn(2, 3, 9, 8)),
}


def trained(name, **numerics):
    """Gradients and tensors kept, by storage, of a second step."""
    torch.manual_seed(3)
    model, x = MODELS[name]()
    x = x.requires_grad_()
    qmodel = qat.prepare(model, x.detach(), recipe={"numerics": numerics}).train()
    qmodel(x * 3).sum().backward()  # ranges that the next forward exceeds
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x.grad = None
    qmodel.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = qmodel(x * 5)
    result.square().sum().backward()
    gradients = [x.grad] + [p.grad for p in qmodel.parameters() if p.requires_grad]
    return gradients, list(kept.values())


@pytest.mark.parametrize("save", ["float32", "float16", "recompute"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_separate_passes(name, save):
    masked, _ = trained(name, save=save)
    separate, _ = trained(name, fused=False)
    assert len(masked) == len(separate) and any(g.abs().sum() > 0 for g in masked)
    for a, b in zip(masked, separate, strict=True):
        assert torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def test_something_is_clipped():
    """Otherwise any mask would do."""
    gradients, _ = trained("image")
    torch.manual_seed(3)
    model, x = MODELS["image"]()
    x = x.requires_grad_()
    model(x * 5).square().sum().backward()
    assert ((gradients[0] == 0) & (x.grad != 0)).any()


def test_only_bits_are_kept():
    _, masked = trained("rows")
    _, separate = trained("rows", fused=False)

    def real_bytes(tensors):
        return sum(
            t.nbytes for t in tensors if t.dtype == torch.float32 and t.numel() >= 4 * 7 * 24
        )

    # Left: what layer norm keeps for itself, its input.
    assert real_bytes(masked) == 4 * 7 * 24 * 4 < real_bytes(separate)
