"""PyTorch loads a checkpoint into modules of the released model's names and shapes."""

import unittest

from safetensors.torch import load_file
from torch import nn, ones

from files import made, wellspring

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


class Checkpoints(unittest.TestCase):
    def test_state_dicts_load(self):
        for strategy, first, second in (("ckm", 4, 4), ("csm", 4, 4), ("fixed", 4, 2)):
            with self.subTest(strategy):
                wellspring(made(), f"export {strategy} {strategy}.safetensors")
                state = load_file(made() / f"{strategy}.safetensors")
                released(strategy, first, second).load_state_dict(state, strict=True)


if __name__ == "__main__":
    unittest.main()
