"""conv_int_backward against autograd of the float64 convolution of the dequantized operands."""

import pytest
import torch

from ops.samples import PRODUCTS
from ops.test_conv_int import (
    CASES,
    DTYPES,
    FORWARD,
    TRANSPOSED,
    TRANSPOSED_CASES,
    geometry,
    random_codes,
)

EPS = 2.0**-24


class Case:
    def __init__(self, shape, weight_shape, dtype, **options):
        self.rank = len(weight_shape) - 2
        self.g = geometry(self.rank, **options)
        self.codes = random_codes(shape, dtype)
        if self.rank == 2:
            self.codes = self.codes.contiguous(memory_format=torch.channels_last)
        self.weight = random_codes(weight_shape, torch.int8).clamp(-127)
        self.scale, self.zero = torch.tensor([0.02]), torch.tensor([5], dtype=torch.int32)
        self.x = (self.codes.double() - 5) * self.scale.double()
        with torch.no_grad():
            channels = self.forward(self.x, self.weight.double()).shape[1]
        self.weight_scale = torch.rand(channels) + 0.1
        self.w = self.weight.double() * self.along_weight()
        self.grad = torch.randn_like(self.forward(self.x, self.w)).float()

    def along_weight(self):
        scale = self.weight_scale.double()
        if not self.g["transposed"]:
            return scale.view([-1] + [1] * (self.weight.dim() - 1))
        groups, columns = self.g["groups"], self.weight.shape[1]
        rows = self.weight.shape[0] // groups
        scale = scale.view(groups, 1, columns).expand(groups, rows, columns)
        return scale.reshape(groups * rows, columns, *[1] * self.rank)

    def forward(self, x, w):
        g = self.g
        keywords = {name: g[name] for name in ("stride", "padding", "dilation", "groups")}
        if g["transposed"]:
            keywords["output_padding"] = g["output_padding"]
            return TRANSPOSED[self.rank](x, w, None, **keywords)
        return FORWARD[self.rank](x, w, None, **keywords)

    def expected(self, grad):
        x, w = self.x.clone().requires_grad_(), self.w.clone().requires_grad_()
        self.forward(x, w).backward(grad.double())
        return x.grad, w.grad

    def magnitudes(self):
        """The sums of the absolute products, and the largest number of them."""
        x, w = self.x.abs().requires_grad_(), self.w.abs().requires_grad_()
        self.forward(x, w).backward(self.grad.double().abs())
        return x.grad, w.grad, self.grad.numel()

    def run(self, ops, products="float32", **wanted):
        wanted = {"input_grad": True, "weight_grad": True} | wanted
        tensors = self.grad, self.codes, self.scale, self.zero, self.weight, self.weight_scale
        return ops.conv_int_backward(*tensors, **self.g, products=products, **wanted)


def cases():
    for shape, weight_shape, stride, padding, dilation, groups in CASES:
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        yield shape, weight_shape, options
    for case in TRANSPOSED_CASES:
        shape, weight_shape, stride, padding, dilation, output_padding, groups = case
        yield (
            shape,
            weight_shape,
            {
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "output_padding": output_padding,
                "groups": groups,
                "transposed": True,
            },
        )


@pytest.mark.parametrize("shape, weight_shape, options", list(cases()))
@pytest.mark.parametrize("dtype", DTYPES)
def test_float32(ops, shape, weight_shape, options, dtype):
    case = Case(shape, weight_shape, dtype, **options)
    d_input, d_weight = case.run(ops)
    assert d_input.shape == case.codes.shape and d_weight.shape == case.weight.shape
    # A float32 sum of n products in any order is off by at most n + 2 roundings of its terms.
    input_terms, weight_terms, count = case.magnitudes()
    for actual, expected, terms in zip(
        (d_input, d_weight), case.expected(case.grad), (input_terms, weight_terms), strict=True
    ):
        assert ((actual.double() - expected).abs() <= (count + 2) * EPS * terms).all()


@pytest.mark.parametrize("shape, weight_shape, options", list(cases()))
@pytest.mark.parametrize("dtype", DTYPES)
def test_int16(ops, shape, weight_shape, options, dtype):
    case = Case(shape, weight_shape, dtype, **options)
    for actual, expected in zip(case.run(ops, "int16"), case.expected(case.grad), strict=True):
        # The rounding of a normally distributed gradient to 32767 steps of its largest magnitude
        # (about 4 to 5 deviations) is off by 5 / 32767 / sqrt(12) = 4e-5 of it, in the mean.
        error = (actual.double() - expected).norm() / expected.norm()
        assert error <= 2e-4, error


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("shape, weight_shape, options", list(cases()))
@pytest.mark.parametrize("dtype", DTYPES)
def test_bfloat16(ops, shape, weight_shape, options, dtype, onednn):
    """Of gradient and result each element is off by up to 2^-8, 1.66e-3 in the root mean square
    (Note [bfloat16 gradients]). A sum of products of which some cancel keeps the absolute error of
    its terms, so the result's is compared with the terms where there are only a few."""
    case = Case(shape, weight_shape, dtype, **options)
    with torch.backends.mkldnn.flags(enabled=onednn):
        found = case.run(ops, "bfloat16")
    *terms, count = case.magnitudes()
    for actual, expected, sizes in zip(found, case.expected(case.grad), terms, strict=True):
        assert actual.dtype == torch.float32
        worst = (
            2.0**-7 + (count + 4) * EPS
        )  # (1 + 2^-8)^2 - 1 < 2^-7 + 2^-16, which the rest covers
        assert ((actual.double() - expected).abs() <= (worst + 2.0**-16) * sizes).all()
        if expected.numel() >= 500:
            error = (actual.double() - expected).norm() / expected.norm()
            assert error <= 3e-3, error  # sqrt(2) * 1.66e-3 and the spread of few elements


def test_bfloat16_takes_codes_and_weights_as_they_are(ops):
    """A gradient of powers of two is exact, and so are codes of 8 bits on either side of zero: sums
    of a single product are the product, rounded once."""
    case = Case((1, 256, 2, 2), (64, 256, 1, 1), torch.uint8)
    case.codes = torch.arange(256, dtype=torch.uint8).view(1, 256, 1, 1)
    case.zero = torch.tensor([255], dtype=torch.int32)
    case.scale, case.weight_scale = torch.tensor([0.5]), torch.full((64,), 0.25)
    case.grad = torch.zeros(1, 64, 1, 1)
    case.grad[0, 9] = 2.0
    d_input, d_weight = case.run(ops, "bfloat16")
    assert torch.equal(d_input[0, :, 0, 0], case.weight[9, :, 0, 0].float() * 0.5)
    assert torch.equal(d_weight[9, :, 0, 0], torch.arange(-255.0, 1.0))


@pytest.mark.parametrize("products", ["int16", "bfloat16"])
def test_narrow_products_round_the_gradient(ops, products):
    """They must not quietly be float32."""
    case = Case((2, 64, 14, 14), (64, 64, 3, 3), torch.uint8, padding=1)
    for narrow, wide in zip(case.run(ops, products), case.run(ops, "float32"), strict=True):
        assert not torch.equal(narrow, wide)


@pytest.mark.parametrize("products", PRODUCTS)
def test_only_what_is_wanted(ops, products):
    case = Case((2, 64, 14, 14), (32, 64, 3, 3), torch.uint8, padding=1)
    d_input, d_weight = case.run(ops, products)
    alone = case.run(ops, products, weight_grad=False)
    assert torch.equal(alone[0], d_input) and alone[1].shape == (0,)
    alone = case.run(ops, products, input_grad=False)
    assert alone[0].shape == (0,) and torch.equal(alone[1], d_weight)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stays_so(ops, products, bad):
    case = Case((2, 64, 14, 14), (32, 64, 3, 3), torch.uint8, padding=1)
    case.grad[1, 7, 3, 3] = bad
    d_input, d_weight = case.run(ops, products)
    assert not d_input.isfinite().all() and not d_weight[7].isfinite().all()


def test_empty_batch_and_zero_gradient(ops):
    case = Case((2, 64, 14, 14), (32, 64, 3, 3), torch.uint8, padding=1)
    case.grad.zero_()
    for products in PRODUCTS:
        d_input, d_weight = case.run(ops, products)
        assert not d_input.any() and not d_weight.any()
    case.codes, case.grad = case.codes[:0], case.grad[:0]
    for products in PRODUCTS:
        d_input, d_weight = case.run(ops, products)
        assert d_input.shape == (0, 64, 14, 14) and not d_weight.any()


BAD = [
    (
        "products",
        "int4",
        "conv_int_backward: products: expected float32, int16 or bfloat16, got 'int4'.",
    ),
    ("grad", torch.zeros(2, 8, 3, 3), "conv_int_backward: grad: "),
    ("weight_scale", torch.ones(3), "conv_int_backward: weight_scale: "),
    ("scale", torch.ones(3), "conv_int_backward: scale: "),
    ("codes", torch.zeros(6, 14, 14, dtype=torch.uint8), "conv_int_backward: codes: expected a ba"),
]


@pytest.mark.parametrize("argument, value, message", BAD)
def test_messages(ops, argument, value, message):
    case = Case((2, 6, 14, 14), (8, 6, 3, 3), torch.uint8, padding=1)
    products = value if argument == "products" else "float32"
    if argument != "products":
        setattr(case, argument, value)
    with pytest.raises(ValueError, match=message):
        case.run(ops, products)
