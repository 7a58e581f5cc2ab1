"""Networks and data of the tests of post-training steps."""

import qat_ext as qat
import torch
from torch import nn

GENERATOR = torch.Generator().manual_seed(5)


def images(rows):
    """Smooth, as images are: to independent values rounding to nearest is the best there is."""
    noise = torch.randn(rows, 3, 14, 14, generator=GENERATOR)
    colour = torch.randn(rows, 3, 1, 1, generator=GENERATOR)
    return nn.functional.avg_pool2d(noise, 5, 1) * 4 + colour


X = images(48)
BATCHES = [images(24) for _ in range(4)]
LOW_BITS = {"weights": {"bits": 4}}


class Net(nn.Module):
    """Every kind of pair: to depthwise, from depthwise, to a layer behind a mean."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.point = nn.Conv2d(16, 20, 1)
        self.head = nn.Linear(20, 8)

    def forward(self, x):
        y = torch.relu_(self.bn1(self.conv(x)))
        y = torch.relu(self.bn2(self.deep(y)))
        return self.head(torch.relu(self.point(y)).mean((2, 3)))


def net():
    """Channels of unlike sizes and statistics that belong to the data."""
    torch.manual_seed(2)
    model = Net()
    with torch.no_grad():
        for norm in (model.bn1, model.bn2):
            norm.weight.uniform_(0.05, 3)
            norm.bias.normal_()
        for _ in range(3):  # each batch norm needs those before it to have settled
            for norm in (model.bn1, model.bn2):
                norm.reset_running_stats()
                norm.momentum = None
            for batch in BATCHES:
                model.train()(batch)
    return model.eval()


def prepared(model, recipe=None, x=X):
    return qat.prepare(model, x, recipe or LOW_BITS).eval()


def calibrated(qmodel, batches=BATCHES):
    with qat.calibrate(qmodel), torch.no_grad():
        for batch in batches:
            qmodel(batch)
    return qmodel


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
