"""The released model in plain PyTorch, small: modules of its names, and what they compute."""

import math

import torch
import torch.nn.functional as F
from torch import nn, ones

DIM, HEADS, BLOCKS, GROUPS, FIELDS = 32, 2, 2, 4, 4


class Named(nn.Module):
    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


def scale():
    return nn.Parameter(ones(DIM))


def space_mixing():
    width = DIM // HEADS
    return Named(
        gamma_att=scale(),
        norm1=nn.GroupNorm(HEADS, DIM),
        fused_ff_qkv=nn.Linear(DIM, 7 * DIM),
        ff_out=nn.Sequential(nn.Identity(), nn.Linear(2 * DIM, DIM)),
        attn_out=nn.Linear(DIM, DIM, bias=False),
        q_norm=nn.LayerNorm(width),
        k_norm=nn.LayerNorm(width),
    )


def time_mixing():
    width = DIM // HEADS
    return Named(
        gamma=scale(),
        norm1=nn.GroupNorm(HEADS, DIM),
        input_head=nn.Conv3d(DIM, 3 * DIM, 1),
        output_head=nn.Conv3d(DIM, DIM, 1),
        qnorm=nn.LayerNorm(width),
        knorm=nn.LayerNorm(width),
        rel_pos_bias=Named(relative_attention_bias=nn.Embedding(32, HEADS)),
    )


def released(strategy, first, second):
    narrow = DIM // 4
    model = Named(
        space_bag=Named(linear=nn.Linear(FIELDS, narrow)),
        embed=Named(
            proj1=nn.Conv2d(narrow, narrow, first, bias=False),
            norm1=nn.GroupNorm(GROUPS, narrow),
            proj2=nn.Conv2d(narrow, DIM, second, bias=False),
            norm2=nn.GroupNorm(GROUPS, DIM),
        ),
        blocks=nn.ModuleList(Named(space_mixing=space_mixing(), time_mixing=time_mixing()) for _ in range(BLOCKS)),
        debed=Named(
            proj1=nn.ConvTranspose2d(DIM, narrow, second, bias=False),
            norm1=nn.GroupNorm(GROUPS, narrow),
            proj2=nn.ConvTranspose2d(narrow, FIELDS, first),
        ),
    )
    if strategy == "csm":
        model.patch_jitterer = Named(padding_tokens=nn.Parameter(ones(2, narrow, 1, 1, 1)))
    return model


STAGES = {4: (2, 2), 8: (4, 2), 16: (4, 4)}


def resized(kernel, strategy, size):
    """Algorithm 1's kernel for another size: the pseudo-inverse of bicubic interpolation."""
    if strategy != "ckm" or kernel.shape[-1] == size:
        return kernel
    base = kernel.shape[2:]
    cells = base.numel()
    interpolated = F.interpolate(torch.eye(cells).view(cells, 1, *base), (size, size), mode="bicubic")
    inverse = torch.linalg.pinv(interpolated.flatten(1))
    return torch.einsum("oik,nk->oin", kernel.flatten(2), inverse).unflatten(-1, (size, size))


def padding(strategy, length, size):
    """Algorithm 2's padding of one axis, for base kernels of 4 and 4."""
    if strategy != "csm":
        return 0, 0
    first, second = STAGES[size]
    more = (4 + 3 * first - length) % (first * second)
    return more // 2, more - more // 2


def over_time(mixing, x):
    frames, _, *grid = x.shape
    packed = mixing.input_head(mixing.norm1(x).unsqueeze(-1)).squeeze(-1)
    query, key, value = packed.unflatten(1, (HEADS, 3, -1)).permute(2, 4, 5, 1, 0, 3)
    distance = torch.arange(frames)[:, None] - torch.arange(frames)
    bias = mixing.rel_pos_bias.relative_attention_bias(distance.clamp(min=0)).movedim(-1, 0)
    bias = bias.masked_fill(distance < 0, -torch.inf)
    seen = F.scaled_dot_product_attention(mixing.qnorm(query), mixing.knorm(key), value, attn_mask=bias)
    seen = seen.permute(3, 2, 4, 0, 1).reshape(frames, DIM, *grid)
    return x + mixing.gamma[:, None, None] * mixing.output_head(seen.unsqueeze(-1)).squeeze(-1)


def turned(features, grid):
    """Axial rotary embedding as a complex product; the third axis of a plane stays at -1."""
    width = DIM // HEADS // 8
    places = torch.cartesian_prod(*(torch.linspace(-1, 1, n) for n in grid), torch.tensor([-1.0]))
    angles = (places[..., None] * torch.linspace(1, 128, width) * math.pi).flatten(1)
    count = angles.shape[-1]
    pairs = torch.view_as_complex(features[..., : 2 * count].unflatten(-1, (count, 2)).contiguous())
    pairs = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    return torch.cat((pairs, features[..., 2 * count :]), -1)


def over_space(mixing, x):
    grid = x.shape[2:]
    rows = mixing.fused_ff_qkv(mixing.norm1(x).flatten(2).mT)
    up, gate, *heads = rows.split((2 * DIM, 2 * DIM, DIM, DIM, DIM), -1)
    query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in heads)
    query, key = turned(mixing.q_norm(query), grid), turned(mixing.k_norm(key), grid)
    seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    change = mixing.attn_out(seen) + mixing.ff_out(up * F.silu(gate))
    return x + (mixing.gamma_att * change).mT.unflatten(-1, grid)


def change_scale(context):
    """Standard deviation and mean of the changes from frame to frame, per channel."""
    std, mean = torch.std_mean(context.diff(dim=0), (0, 2, 3), keepdim=True)
    return std + 1e-4, mean


def changes(model, strategy, context, size):
    """The normalized change after each frame of a context (T, C, X, Y) with periodic boundaries."""
    std, mean = torch.std_mean(context, (0, 2, 3), keepdim=True)
    first, second = STAGES[size]
    x = model.space_bag.linear(((context - mean) / (std + 1e-4)).movedim(1, -1)).movedim(-1, 1)
    pads = [padding(strategy, length, size) for length in x.shape[2:]]
    x = F.pad(x, (*pads[1], *pads[0]), mode="circular")
    coder = model.embed
    x = F.conv2d(x, resized(coder.proj1.weight, strategy, first), stride=first)
    x = F.conv2d(F.gelu(coder.norm1(x)), resized(coder.proj2.weight, strategy, second), stride=second)
    x = coder.norm2(x)
    x = x if strategy == "ckm" else F.gelu(x)
    for block in model.blocks:
        x = over_space(block.space_mixing, over_time(block.time_mixing, x))
    coder = model.debed
    x = F.conv_transpose2d(x, resized(coder.proj1.weight, strategy, second), stride=second)
    kernel = resized(coder.proj2.weight, strategy, first)
    x = F.conv_transpose2d(F.gelu(coder.norm1(x)), kernel, coder.proj2.bias, stride=first)
    for axis, (low, _) in enumerate(pads):
        x = x.narrow(axis + 2, low, context.shape[axis + 2])
    return x


@torch.no_grad()
def predicted(model, strategy, context, size):
    """The frame after a context (T, C, X, Y)."""
    std, mean = change_scale(context)
    return context[-1] + (changes(model, strategy, context, size)[-1:] * std + mean)[0]
