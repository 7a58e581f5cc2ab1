"""Tensors of one content in different memory orders."""

import torch

NAMES = ["contiguous", "channels_last", "transposed", "every_second", "expanded"]


def lay_out(x, name):
    """x ([N, C, H, W]) in the memory order ``name``; "expanded" repeats its first image."""
    if name == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if name == "transposed":
        return x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    if name == "every_second":
        wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if name == "expanded":
        return x[:1].expand_as(x)
    return x.contiguous()
