"""Writes the numbers of The Well's baseline models that the Rust models must match: python baselines.py OUT

Needs (from PyPI): torch, safetensors, the-well 1.2, neuraloperator 0.3.0 (as the-well's extra `benchmark` asks), timm.

baseline-*.safetensors   config in the metadata; `param.NAME`, the weights and running statistics; `frames`
                         (T+1, B, C, *space); `out` (B, C, *space), the normalized change in training; `loss`;
                         `grad.NAME`; `train.loss` (N,), the losses before each of N AdamW steps (lr 1e-3, decay
                         1e-4) on the same frames; `after.NAME`, the running statistics after them; and `next`
                         (1, B, C, *space), the next frame that the model in use (eval) predicts with `param`.

All is computed in double precision and written in single.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from the_well.benchmark.models import FNO, TFNO, UNetClassic, UNetConvNext

STEPS = 4


def frames_of(gen, time, batch, fields, space):
    """Waves that travel, each channel at a scale of its own, with a little noise."""
    axes = torch.meshgrid(*(torch.arange(n) / n for n in space), indexing="ij")
    frames = torch.zeros(time, batch, fields, *space, dtype=torch.float64)
    for t in range(time):
        for b in range(batch):
            for c in range(fields):
                for wave in range(1, 4):
                    place = sum((wave + i + c) % 3 * x for i, x in enumerate(axes))
                    turn = 2 * torch.pi * (place + 0.1 * wave * t + 0.3 * b + 0.2 * c)
                    frames[t, b, c] += torch.sin(turn) / wave
    noise = torch.randn(frames.shape, generator=gen, dtype=torch.float64)
    scale = torch.arange(1, fields + 1).reshape(1, 1, fields, *(1,) * len(space))
    # Single precision from the start, so that both sides read the same.
    return ((frames + 0.05 * noise) * scale).float().double()


def normalized(frames):
    """The context as channels, frame by frame, the change to the last frame, both normalized, and what undoes it."""
    context, dims = frames[:-1], (0, *range(3, frames.ndim))
    std, mean = torch.std_mean(context, dims, keepdim=True)
    dstd, dmean = torch.std_mean(context[1:] - context[:-1], dims, keepdim=True)
    x = (context - mean) / (std + 1e-4)
    target = (frames[-1:] - frames[-2:-1] - dmean) / (dstd + 1e-4)
    undone = lambda change: frames[-2:-1] + change * (dstd + 1e-4) + dmean
    return x.movedim(0, 1).flatten(1, 2), target[0], undone


def disturbed(model, gen):
    """Weights and statistics away from where they begin, so that every one of them counts."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=gen, dtype=value.dtype)
            if name.endswith("gamma"):
                value.copy_(0.5 + 0.1 * noise)
            elif name.endswith("running_var"):
                value.copy_(1 + 0.1 * noise.abs())
            else:
                value.add_(0.05 * noise)
            value.copy_(value.float().double())


def fixture(architecture, config, space, gen, fields=2, context=3, batch=2):
    columns, axes = context * fields, len(space)
    if architecture == "unet":
        model = UNetClassic(columns, fields, axes, space, init_features=config["init_features"])
    elif architecture == "cnextunet":
        model = UNetConvNext(
            columns, fields, axes, space,
            init_features=config["init_features"], blocks_per_stage=config["blocks_per_stage"],
        )
    else:
        modes = {f"modes{axis}": config["modes"] for axis in (1, 2, 3)}
        kind = FNO if architecture == "fno" else TFNO
        model = kind(columns, fields, axes, space, hidden_channels=config["hidden"], **modes)
    model = model.double().train()
    disturbed(model, gen)
    frames = frames_of(gen, context + 1, batch, fields, space)
    x, target, undone = normalized(frames)
    kept = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    out = {f"param.{name}": value.clone() for name, value in kept.items()}
    out["frames"] = frames
    with torch.no_grad():
        out["next"] = undone(model.eval()(x)[None])
    model.train()

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        found = model(x)
        loss = torch.nn.functional.mse_loss(found, target)
        loss.backward()
        if step == 0:
            out["out"], out["loss"] = found.detach().clone(), loss.detach().reshape(1)
            for name, weight in model.named_parameters():
                if weight.grad is not None:
                    out[f"grad.{name}"] = weight.grad.clone()
        optimizer.step()
        losses.append(loss.detach())
    out["train.loss"] = torch.stack(losses)
    for name, value in model.named_buffers():
        if value.is_floating_point():
            out[f"after.{name}"] = value.clone()
    meta = {"model": {"architecture": architecture, **config}, "fields": fields, "context": context}
    return {name: value.float().contiguous() for name, value in out.items()}, meta


def main():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    convnext = {"init_features": 3, "blocks_per_stage": 1}
    cases = {
        "unet-2d": ("unet", {"init_features": 2}, (16, 32)),
        "unet-3d": ("unet", {"init_features": 1}, (16, 16, 32)),
        "cnextunet-2d": ("cnextunet", {**convnext, "blocks_per_stage": 2}, (32, 16)),
        "cnextunet-3d": ("cnextunet", convnext, (16, 16, 16)),
        "fno-2d": ("fno", {"modes": 4, "hidden": 3}, (12, 9)),
        "fno-2d-few": ("fno", {"modes": 8, "hidden": 2}, (6, 8)),
        "fno-3d": ("fno", {"modes": 4, "hidden": 2}, (6, 8, 10)),
        "tfno-2d": ("tfno", {"modes": 4, "hidden": 3}, (12, 10)),
        "tfno-3d": ("tfno", {"modes": 4, "hidden": 2}, (8, 6, 8)),
    }
    for name, (architecture, config, space) in cases.items():
        small = {"fields": 1, "context": 2, "batch": 2} if len(space) == 3 else {}
        tensors, meta = fixture(architecture, config, space, gen, **small)
        path = Path(sys.argv[1]) / f"baseline-{name}.safetensors"
        save_file(tensors, path, {"config": json.dumps(meta)})
        print(f"{path.name}: loss {tensors['loss'].item():.4f}, {path.stat().st_size >> 10} kB")


main()
