"""One changed number in the file, signed anew, is reported by verify and named."""

import hashlib
import json
import re
import struct

import numpy as np
import pytest
import qat_ext as qat
import torch
from equality import train
from models import conv_bn
from torch import nn

X = (4, 3, 8, 8)


class File:
    """A checkpoint taken apart: edit `header`, `data`, then `write`."""

    def __init__(self, path):
        raw = path.read_bytes()
        (size,) = struct.unpack_from("<Q", raw)
        self.header = raw[8 : 8 + size].decode()
        self.data = bytearray(raw[8 + size :])
        self.tensors = {k: v for k, v in json.loads(self.header).items() if k != "__metadata__"}

    def array(self, name, dtype):
        """The tensor's bytes, to be written into."""
        begin, end = self.tensors[name]["data_offsets"]
        return np.frombuffer(memoryview(self.data)[begin:end], dtype)

    def write(self, path):
        zeroed, count = re.subn(r'("sha256":\s*")[0-9a-f]{64}', r"\g<1>" + "0" * 64, self.header)
        assert count == 1
        blank = struct.pack("<Q", len(zeroed)) + zeroed.encode() + bytes(self.data)
        digest = hashlib.sha256(blank).hexdigest()
        path.write_bytes(blank.replace(b"0" * 64, digest.encode(), 1))


@pytest.fixture(scope="module", params=[8, 4])
def saved(request, tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(
        conv_bn(3, 8), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    )  # fmt: skip
    x = torch.randn(X)
    qmodel = qat.prepare(model, x, {"weights": {"bits": request.param}})
    train(qmodel, [x, x], 1e-3)
    qmodel.eval()
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    qat.convert(qmodel).save(path)
    return qmodel, x, path


def report_of(saved, file, tmp_path):
    qmodel, x, _ = saved
    file.write(tmp_path / "changed.safetensors")
    return qat.verify(qmodel, qat.load(tmp_path / "changed.safetensors"), [x])


def test_an_unchanged_file_signed_anew_is_the_same(saved, tmp_path):
    file = File(saved[2])
    file.write(tmp_path / "same.safetensors")
    assert (tmp_path / "same.safetensors").read_bytes() == saved[2].read_bytes()
    assert report_of(saved, file, tmp_path).equal


def next_float(array, index):
    array[index] = np.nextafter(array[index], np.float32(np.inf))


def names(saved, ending):
    return [name for name in File(saved[2]).tensors if name.endswith(ending)]


@pytest.mark.parametrize("ending", [".multiplier", ".bias"])
def test_one_unit_in_the_last_place_of_a_layer(saved, ending, tmp_path):
    found = names(saved, ending)
    assert len(found) == 3
    for name in found:
        file = File(saved[2])
        next_float(file.array(name, np.float32), -1)
        report = report_of(saved, file, tmp_path)
        assert not report.equal
        assert report.differing_parameters == 1
        assert report.first_difference == f"tensor '{name}'"


def test_one_unit_in_the_last_place_of_an_activation_scale(saved, tmp_path):
    count = File(saved[2]).array("activation_scales", np.float32).size
    assert count >= 4
    for index in range(count):
        file = File(saved[2])
        next_float(file.array("activation_scales", np.float32), index)
        report = report_of(saved, file, tmp_path)
        assert not report.equal
        assert report.first_difference.startswith("scale or zero point of '")


def test_one_weight_code(saved, tmp_path):
    found = names(saved, ".weight")
    assert len(found) == 3
    for name in found:
        file = File(saved[2])
        codes = file.array(name, np.uint8)
        # The lowest bit of the second byte: of a code that is not the lowest, so that 8 bits stay
        # narrow.
        codes[1] ^= 1
        report = report_of(saved, file, tmp_path)
        assert not report.equal
        assert report.first_difference == f"tensor '{name}'"


def test_one_entry_of_a_table(saved, tmp_path):
    (name,) = names(saved, ".table")
    file = File(saved[2])
    file.array(name, np.uint8)[7] ^= 1
    report = report_of(saved, file, tmp_path)
    assert report == qat.VerifyReport(20, report.differing, 1, f"tensor '{name}'")


def test_one_zero_point(saved, tmp_path):
    file = File(saved[2])
    points = [int(n) for n in re.findall(r'zero_point\\":\s*(\d+)', file.header)]
    assert len(points) >= 4
    place = next(i for i, point in enumerate(points) if 0 < point < 255 and point % 10 != 9)
    matches = list(re.finditer(r'zero_point\\":\s*(\d+)', file.header))
    start, end = matches[place].span(1)
    file.header = file.header[:start] + str(points[place] + 1) + file.header[end:]
    report = report_of(saved, file, tmp_path)
    assert not report.equal
    assert report.first_difference.startswith("scale or zero point of '")


def test_an_unsigned_change_does_not_load(saved, tmp_path):
    raw = bytearray(saved[2].read_bytes())
    raw[-1] ^= 1
    path = tmp_path / "broken.safetensors"
    path.write_bytes(raw)
    with pytest.raises(qat.Error, match=r"broken.safetensors: .*sha256"):
        qat.load(path)
