"""The CKM model in PyTorch, as a user of PyTorch would write it to train on a GPU.

What the benchmark `step.py` times against. Its weights have the names and shapes of our checkpoints, so that the
fixtures of `train/tests/data` can be loaded (tests/python/read_fixtures.py compares the outputs). What depends on
the patch size and the grid alone, the resize matrices and the rotary tables, is computed once and kept on the
device: that favours PyTorch, as each of our steps does the same.

Frames are (T, B, C, *space), oldest first; inside, (T, B, C, H, W, D), D = 1 in two dimensions.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

# The two factors into which a patch size is split.
FACTORS = {4: (2, 2), 8: (4, 2), 16: (4, 4), 32: (8, 4)}


def table(function):
    """Called once for its arguments; in a compiled model its result is a constant."""
    kept = functools.cache(function)

    def look_up(*arguments):
        return kept(*arguments)

    return torch.compiler.assume_constant_result(look_up)


@table
def resize_matrix(base, size, device):
    """The pseudo-inverse (prod(size), prod(base)) of interpolating a patch of `base` cells to `size`."""
    mode = "bicubic" if len(base) == 2 else "trilinear"
    cells = math.prod(base)
    each_cell = torch.eye(cells, dtype=torch.float64).view(cells, 1, *base)
    resized = F.interpolate(each_cell, size=size, mode=mode, align_corners=False)
    return torch.linalg.pinv(resized.flatten(1)).float().to(device)


@table
def rotary_tables(grid, width, device):
    """Cosines and sines (tokens, 3 width / 4) of a grid of three axes, equal in pairs of neighbours."""
    count = width // 8
    frequencies = math.pi * torch.linspace(1, 128, count)
    places = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid), indexing="ij")
    angles = torch.cat([place.reshape(-1, 1) * frequencies for place in places], dim=1)
    angles = angles.repeat_interleave(2, dim=1).to(device)
    return angles.cos(), angles.sin()


def turned(x, tables):
    """Rotates the leading pairs of the last axis of (..., tokens, width)."""
    cosine, sine = tables
    moving, resting = x.split((cosine.shape[1], x.shape[-1] - cosine.shape[1]), dim=-1)
    pairs = moving.unflatten(-1, (-1, 2))
    across = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return torch.cat((moving * cosine + across * sine, resting), dim=-1)


class Bias(nn.Module):
    """A learned number for each head and distance in time; the future is hidden."""

    def __init__(self, heads):
        super().__init__()
        self.relative_attention_bias = nn.Embedding(32, heads)

    def forward(self, frames, device):
        at = torch.arange(frames, device=device)
        past = at.unsqueeze(1) - at
        bias = self.relative_attention_bias(past.clamp(min=0)).movedim(-1, 0)
        return bias.masked_fill(past < 0, -math.inf)


class TimeMixing(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.norm1 = nn.GroupNorm(heads, dim)
        self.input_head = nn.Conv3d(dim, 3 * dim, kernel_size=1)
        self.output_head = nn.Conv3d(dim, dim, kernel_size=1)
        self.qnorm = nn.LayerNorm(dim // heads)
        self.knorm = nn.LayerNorm(dim // heads)
        self.rel_pos_bias = Bias(heads)

    def forward(self, x):
        frames, batch, dim = x.shape[:3]
        packed = self.input_head(self.norm1(x.flatten(0, 1)))
        # Of each head come its query, key and value: (B S, heads, T, 3 width).
        packed = packed.reshape(frames, batch, self.heads, 3 * dim // self.heads, -1)
        query, key, value = packed.permute(1, 4, 2, 0, 3).flatten(0, 1).chunk(3, dim=-1)
        mixed = F.scaled_dot_product_attention(
            self.qnorm(query), self.knorm(key), value, attn_mask=self.rel_pos_bias(frames, x.device)
        )
        mixed = mixed.unflatten(0, (batch, -1)).permute(3, 0, 2, 4, 1).reshape(frames * batch, *x.shape[2:])
        mixed = self.output_head(mixed).view_as(x)
        return x + self.gamma.view(-1, 1, 1, 1) * mixed


class SpaceMixing(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.gamma_att = nn.Parameter(torch.full((dim,), 1e-6))
        self.norm1 = nn.GroupNorm(heads, dim)
        self.fused_ff_qkv = nn.Linear(dim, 7 * dim)
        self.ff_out = nn.Sequential(nn.Identity(), nn.Linear(2 * dim, dim))
        self.attn_out = nn.Linear(dim, dim, bias=False)
        self.q_norm = nn.LayerNorm(dim // heads)
        self.k_norm = nn.LayerNorm(dim // heads)

    def forward(self, x):
        count, dim, *grid = x.shape
        rows = self.norm1(x).flatten(2).mT  # (N, S, C)
        up, gate, *packed = self.fused_ff_qkv(rows).split((2 * dim, 2 * dim, dim, dim, dim), dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in packed)
        tables = rotary_tables(tuple(grid), dim // self.heads, x.device)
        mixed = F.scaled_dot_product_attention(
            turned(self.q_norm(query), tables).to(value.dtype), turned(self.k_norm(key), tables).to(value.dtype), value
        )
        mixed = self.attn_out(mixed.transpose(1, 2).flatten(2)) + self.ff_out(up * F.silu(gate))
        return x + (self.gamma_att * mixed).mT.view_as(x)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.time_mixing = TimeMixing(dim, heads)
        self.space_mixing = SpaceMixing(dim, heads)

    def forward(self, x):
        x = self.time_mixing(x)
        return self.space_mixing(x.flatten(0, 1)).view_as(x)


class Encoder(nn.Module):
    def __init__(self, convolution, dim, base, groups):
        super().__init__()
        self.proj1 = convolution(dim // 4, dim // 4, base[0], bias=False)
        self.norm1 = nn.GroupNorm(groups, dim // 4)
        self.proj2 = convolution(dim // 4, dim, base[1], bias=False)
        self.norm2 = nn.GroupNorm(groups, dim)


class Decoder(nn.Module):
    def __init__(self, convolution, dim, fields, base, groups):
        super().__init__()
        self.proj1 = convolution(dim, dim // 4, base[1], bias=False)
        self.norm1 = nn.GroupNorm(groups, dim // 4)
        self.proj2 = convolution(dim // 4, fields, base[0])


class Fields(nn.Module):
    def __init__(self, fields, width):
        super().__init__()
        self.linear = nn.Linear(fields, width)


class Model(nn.Module):
    """CKM, causal; `base` is the patch size that the kernels are stored for."""

    def __init__(self, axes, fields, dim, heads, blocks, groups=12, base=16):
        super().__init__()
        kernels = [(factor,) * axes for factor in FACTORS[base]]
        self.axes = axes
        self.space_bag = Fields(fields, dim // 4)
        self.embed = Encoder([nn.Conv2d, nn.Conv3d][axes - 2], dim, kernels, groups)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(blocks))
        self.debed = Decoder([nn.ConvTranspose2d, nn.ConvTranspose3d][axes - 2], dim, fields, kernels, groups)

    def kernel(self, weight, size):
        base = tuple(weight.shape[2:])
        if base == size:
            return weight
        return F.linear(weight.flatten(2), resize_matrix(base, size, weight.device)).unflatten(-1, size)

    def forward(self, frames, patch):
        """Normalized frames and a patch size for each axis; the normalized change after every frame."""
        first, second = zip(*(FACTORS[size] for size in patch))
        time, batch = frames.shape[:2]
        narrow = [F.conv2d, F.conv3d][self.axes - 2]
        widen = [F.conv_transpose2d, F.conv_transpose3d][self.axes - 2]
        embed, debed = self.embed, self.debed

        x = self.space_bag.linear(frames.flatten(0, 1).movedim(1, -1)).movedim(-1, 1)
        x = narrow(x, self.kernel(embed.proj1.weight, first), stride=first)
        x = narrow(F.gelu(embed.norm1(x)), self.kernel(embed.proj2.weight, second), stride=second)
        x = embed.norm2(x)
        grid = x.shape[2:]
        x = x.reshape(time, batch, -1, *grid, *(1,) * (3 - self.axes))
        for block in self.blocks:
            x = block(x)
        x = x.reshape(time * batch, -1, *grid)
        x = widen(x, self.kernel(debed.proj1.weight, second), stride=second)
        x = widen(F.gelu(debed.norm1(x)), self.kernel(debed.proj2.weight, first), debed.proj2.bias, stride=first)
        return x.unflatten(0, (time, batch))


def statistics(x):
    """Mean and deviation over time and space, for each sample and channel."""
    deviation, mean = torch.std_mean(x, dim=(0, *range(3, x.ndim)), keepdim=True)
    return mean, deviation + 1e-4


def loss(model, frames, patch):
    """Squared error of the normalized change, over all T frames of (T + 1, B, C, *space)."""
    context, change = frames[:-1], frames.diff(dim=0)
    mean, deviation = statistics(context)
    change_mean, change_deviation = statistics(change[:-1])
    found = model((context - mean) / deviation, patch)
    return F.mse_loss(found, (change - change_mean) / change_deviation)


def predict(model, context, patch):
    """The frame after the context."""
    mean, deviation = statistics(context)
    change_mean, change_deviation = statistics(context.diff(dim=0))
    found = model((context - mean) / deviation, patch)[-1:]
    return context[-1:] + change_mean + change_deviation * found
