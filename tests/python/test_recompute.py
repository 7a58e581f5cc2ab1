"""Activation checkpointing equals the run without it: gradients, ranges, running statistics."""

import copy

import pytest
import qat_ext as qat
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    """conv-bn-relu and a residual addition."""

    def __init__(self, channels, tail=True):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, momentum=None)
        self.relu = nn.ReLU(inplace=True)
        self.tail = tail

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + x) if self.tail else y


class Encoder(nn.Module):
    """A transformer block: layer norms, attention and a residual stream of real tensors."""

    def __init__(self, width=16):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.up, self.down = nn.Linear(width, 32), nn.Linear(32, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.drop(self.down(torch.nn.functional.gelu(self.up(self.norm2(x)))))


class Net(nn.Module):
    def __init__(self, blocks, stem, head, order=None):
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), head
        self.order = order or range(len(blocks))
        self.how = None

    def forward(self, x):
        x = self.stem(x)
        for index in self.order:
            block = self.blocks[index]
            if self.how is None or not self.training:
                x = block(x)
            else:
                x = checkpoint(block, x, **self.how)
        return self.head(x.mean((2, 3)) if x.dim() == 4 else x.mean(1))


def images(**kwargs):
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return Net([Block(8), Block(8)], stem, nn.Linear(8, 5), **kwargs), torch.randn(4, 3, 8, 8)


def pending():
    """Blocks that end with a batch norm, which the next operator continues."""
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
    blocks = [nn.Sequential(Block(8, tail=False)), nn.ReLU(), Block(8, tail=False)]
    return Net(blocks, stem, nn.Sequential(nn.ReLU(), nn.Linear(8, 5))), torch.randn(4, 3, 8, 8)


def repeated():
    return images(order=[0, 1, 0, 0])


def tokens():
    return Net([Encoder(), Encoder()], nn.Linear(6, 16), nn.Linear(16, 5)), torch.randn(4, 7, 6)


def island():
    """A batch norm that is not planned, since it follows no layer."""
    blocks = [nn.Sequential(nn.Softmax(1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))]
    stem = nn.Conv2d(3, 8, 1)
    return Net(blocks, stem, nn.Linear(8, 5)), torch.randn(4, 3, 8, 8)


MODELS = {f.__name__: f for f in (images, pending, repeated, tokens, island)}


def train(model, x, how, steps=3, forwards=1):
    qmodel = qat.prepare(model, x)
    model.how = how
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(qmodel.parameters(), 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = [qmodel(x * (1 + k)).square().sum() for k in range(forwards)]
        sum(losses).backward()
        optimizer.step()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return losses[-1].detach(), grads, qmodel.state_dict()


def assert_same(got, expected):
    assert torch.equal(got[0], expected[0])
    for name, grad in expected[1].items():
        # Reentrant checkpointing adds up the gradients of a tensor with several readers, or of a
        # block that runs several times, in another order.
        torch.testing.assert_close(got[1][name], grad, rtol=1e-4, atol=1e-5, msg=name)
    for name, tensor in expected[2].items():
        torch.testing.assert_close(got[2][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_equals_the_run_without(name, reentrant):
    plain, x = MODELS[name]()
    saved = copy.deepcopy(plain)
    assert_same(train(saved, x, {"use_reentrant": reentrant}), train(plain, x, None))


@pytest.mark.parametrize("reentrant", [True, False])
def test_one_step_is_equal_bit_for_bit(reentrant):
    plain, x = images()
    saved = copy.deepcopy(plain)
    got, expected = train(saved, x, {"use_reentrant": reentrant}, 1), train(plain, x, None, 1)
    for part in (1, 2):
        for name, tensor in expected[part].items():
            assert torch.equal(got[part][name], tensor), name
    assert got[2]["model.blocks.0.bn1.num_batches_tracked"] == 1


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["images", "tokens"])
def test_several_forwards_before_backward(name, reentrant):
    """Each is recomputed with the ranges of its own forward, though later ones moved them."""
    plain, x = MODELS[name]()
    saved = copy.deepcopy(plain)
    how = {"use_reentrant": reentrant}
    assert_same(train(saved, x, how, forwards=2), train(plain, x, None, forwards=2))


def test_without_early_stop_and_nested():
    plain, x = images()
    saved = copy.deepcopy(plain)
    block = saved.blocks[0]
    inner = block.relu

    class Inner(nn.Module):
        def forward(self, x):
            return checkpoint(inner, x, use_reentrant=False)

    how = {"use_reentrant": False, "early_stop": False}
    expected = train(plain, x, None)
    assert_same(train(saved, x, how), expected)


def test_checkpoint_sequential():
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.head = nn.Sequential(*layers), nn.Linear(8, 2)
            self.how = None

        def forward(self, x):
            if self.how and self.training:
                x = checkpoint_sequential(self.layers, 2, x, use_reentrant=False)
            else:
                x = self.layers(x)
            return self.head(x.mean((2, 3)))

    plain, x = Split(), torch.randn(4, 3, 8, 8)
    saved = copy.deepcopy(plain)
    assert_same(train(saved, x, True), train(plain, x, None))


def test_calibration_and_the_float_phase_are_left_alone():
    model, x = images()
    qmodel = qat.prepare(model, x)
    model.how = {"use_reentrant": False}
    with qat.calibrate(qmodel):
        qmodel(x).sum().backward()
    counts = {int(v) for n, v in qmodel.state_dict().items() if n.endswith(".count")}
    assert counts == {1}
    assert model.blocks[0].bn1.num_batches_tracked == 1
    qmodel.phase = "floating"
    qmodel(x).sum().backward()


def test_a_freed_model_is_named():
    model, x = images()
    model.how = {"use_reentrant": False}
    loss = qat.prepare(model, x)(x).sum()
    with pytest.raises(RuntimeError, match="the prepared model has been freed; keep it until back"):
        loss.backward()


def test_checkpointing_elsewhere_is_left_alone():
    qat.prepare(*images())
    layer = nn.Linear(3, 3)
    for reentrant in (True, False):
        x = torch.randn(2, 3, requires_grad=True)
        checkpoint(layer, x, use_reentrant=reentrant).sum().backward()
        assert torch.equal(x.grad, layer.weight.sum(0).expand(2, 3))


def test_stock_models_with_checkpointing():
    """densenet checkpoints closures over several tensors, transformers every layer."""
    from torchvision.models import DenseNet
    from transformers import BertConfig, BertModel

    x = torch.randn(4, 3, 32, 32)
    plain = DenseNet(8, (2, 2), 8, num_classes=5)
    saved = copy.deepcopy(plain)
    for module in saved.modules():
        if hasattr(module, "memory_efficient"):
            module.memory_efficient = True
    assert_same(train(saved, x, None, 1), train(plain, x, None, 1))
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    plain = BertModel(config, add_pooling_layer=False)
    saved = copy.deepcopy(plain)
    saved.gradient_checkpointing_enable()
    ids = {"input_ids": torch.randint(0, 50, (4, 8)), "attention_mask": torch.ones(4, 8).long()}
    ids["attention_mask"][0, 5:] = 0
    losses = []
    for model in (plain, saved):
        qmodel = qat.prepare(model, ids)
        torch.manual_seed(1)
        losses.append(qmodel(**ids).last_hidden_state.square().sum())
        losses[-1].backward()
    assert torch.equal(*losses)
    for (name, a), b in zip(plain.named_parameters(), saved.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
