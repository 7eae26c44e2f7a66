"""PyTorch trains the released model on the same windows in the same order, and its losses follow ours.

    WELLSPRING=target/release/wellspring python tests/python/read_training.py 500    prints how far they part
"""

import json
import pathlib
import sys
import tempfile
import unittest

import pyarrow as pa
import numpy as np
import torch
from safetensors.torch import load_file

from files import wellspring
from released import change_scale, changes, released

CONTEXT = 3
# Two trajectories of six frames have six windows. A batch holds all of them, so that their order does not matter.
SETTINGS = (
    f"--set data.root=ds --set data.context={CONTEXT} --set model.dim=32 --set model.heads=2 --set model.blocks=2 "
    "--set model.groups=4 --set optim.lr=5e-3 --set optim.warmup=20 --set optim.clip=1.0 --set train.batch=6 --set validation.every=0"
)


def windows(folder):
    """All windows of the training split as they are stored: (window, frames, C, X, Y)."""
    manifest = json.loads((folder / "ds" / "manifest.json").read_text())
    found = []
    for shard in manifest["splits"]["train"]["shards"]:
        table = pa.ipc.open_file(pa.memory_map(str(folder / "ds" / shard["path"]))).read_all()
        channels = [name for name in table.column_names if name not in ("trajectory", "step", "time")]
        frames = np.stack([table.column(name).combine_chunks().to_numpy_ndarray() for name in channels], 1)
        owner = table.column("trajectory").to_numpy()
        for trajectory in np.unique(owner):
            own = torch.from_numpy(frames[owner == trajectory])
            found += [own[start : start + CONTEXT + 1] for start in range(len(own) - CONTEXT)]
    return torch.stack(found)


def loss_of(model, strategy, batch, size):
    errors = []
    for window in batch:
        context = window[:-1]
        std, mean = change_scale(context)
        target = (window.diff(dim=0) - mean) / std
        errors.append((changes(model, strategy, context, size) - target).square().mean())
    return torch.stack(errors).mean()


def theirs(folder, strategy, steps):
    """PyTorch's losses for the patch sizes and learning rates of our steps."""
    model = released(strategy, 4, 4)
    model.load_state_dict(load_file(folder / "begin.safetensors"), strict=True)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-4)
    batch, losses = windows(folder), []
    for step in steps:
        optimizer.param_groups[0]["lr"] = step["lr"]
        optimizer.zero_grad()
        loss = loss_of(model, strategy, batch, int(step["patch"]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def compared(strategy, count):
    """Our losses and PyTorch's, of so many steps."""
    with tempfile.TemporaryDirectory(prefix="wellspring-") as made:
        folder = pathlib.Path(made)
        wellspring(folder, "simulate shear-flow sims --shape 32x32 --frames 6 --train 2 --valid 0 --test 1 --seed 4")
        wellspring(folder, "ingest sims ds")
        words = f"{SETTINGS} --set model.strategy={strategy}"
        # A step of next to no length leaves the weights as they are drawn.
        wellspring(folder, f"train --out begin {words} --set train.steps=1 --set optim.lr=1e-30")
        wellspring(folder, "export begin begin.safetensors")
        wellspring(folder, f"train --out run {words} --set train.steps={count}")
        query = "SELECT step, loss, patch, lr FROM training WHERE event = 'step' ORDER BY step"
        steps = json.loads(wellspring(folder, "sql --runs run --format json", query))
        return np.array([step["loss"] for step in steps]), theirs(folder, strategy, steps)


class Training(unittest.TestCase):
    def test_pytorch_learns_what_we_learn(self):
        for strategy in ("ckm", "csm"):
            with self.subTest(strategy):
                ours, other = compared(strategy, 40)
                self.assertEqual(len(ours), 40)
                self.assertLess(ours[-5:].mean(), 0.95 * ours[:5].mean())
                self.assertLess(np.abs(ours / other - 1).max(), 1e-4)


def report(count):
    for strategy in ("ckm", "csm"):
        ours, other = compared(strategy, count)
        apart = np.abs(ours / other - 1)
        print(f"{strategy}: {count} steps, loss {ours[0]:.4f} to {ours[-20:].mean():.4f}, PyTorch's {other[-20:].mean():.4f}")
        for first, last in ((0, 10), (10, 50), (50, 100), (100, 200), (200, 350), (350, 500)):
            if first < count:
                part = apart[first:last]
                print(f"  steps {first + 1} to {min(last, count)}: apart by {np.median(part):.1e}, at most {part.max():.1e}")


if __name__ == "__main__":
    report(int(sys.argv[1])) if len(sys.argv) == 2 and sys.argv[1].isdigit() else unittest.main()
