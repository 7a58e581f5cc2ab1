"""Small models that the tests of insertion and capture share."""

import qat_ext as qat
import torch
from torch import nn

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def small(inplace=True):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.Hardswish(inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def trained(model, x=X, steps=2, call=None):
    call = call or (lambda q: q(x))
    qmodel = qat.prepare(model, x)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        call(qmodel).square().sum().backward()
        optimizer.step()
    return qmodel.eval()


def assert_converts(qmodel, *batches):
    report = qat.verify(qmodel, qat.convert(qmodel), list(batches) or [X])
    assert report.equal, report


class Of(nn.Module):
    """A model from a function of modules and the input."""

    def __init__(self, function, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.function = function

    def forward(self, x):
        return self.function(self, x)
