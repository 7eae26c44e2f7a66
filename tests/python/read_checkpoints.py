"""PyTorch loads a checkpoint into modules of the released model's names, and predicts what we predict."""

import json
import unittest

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file

from files import made, wellspring
from released import predicted, released

def stored_frames():
    """The test split's first trajectory as it is stored: (frames, C, X, Y), and its channels."""
    manifest = json.loads((made() / "ds" / "manifest.json").read_text())
    shard = manifest["splits"]["test"]["shards"][0]["path"]
    table = pa.ipc.open_file(pa.memory_map(str(made() / "ds" / shard))).read_all()
    channels = [name for name in table.column_names if name not in ("trajectory", "step", "time")]
    frames = [table.column(name).combine_chunks().to_numpy_ndarray()[:8] for name in channels]
    scales = {name: manifest["statistics"][name] for name in channels}
    return torch.from_numpy(np.stack(frames, 1)), scales


def kept_predictions(strategy):
    """What an evaluation kept of its first prediction: {(patch, field): values in the field's unit}."""
    held = {}
    for path in (made() / "results" / "frames").glob(f"{strategy}-*.arrow"):
        for row in pa.ipc.open_file(str(path)).read_all().to_pylist():
            if (row["trajectory"], row["start"], row["lead"]) == (0, 0, 1):
                held[int(row["patch"]), row["field"]] = np.array(row["prediction"]).reshape(row["shape"])
    return held


class Checkpoints(unittest.TestCase):
    def test_state_dicts_load(self):
        for strategy, first, second in (("ckm", 4, 4), ("csm", 4, 4), ("fixed", 4, 2)):
            with self.subTest(strategy):
                wellspring(made(), f"export {strategy} {strategy}.safetensors")
                state = load_file(made() / f"{strategy}.safetensors")
                released(strategy, first, second).load_state_dict(state, strict=True)

    def test_pytorch_predicts_what_we_predict(self):
        frames, scales = stored_frames()
        for strategy, second, sizes in (("ckm", 4, (4, 8, 16)), ("csm", 4, (4, 8, 16)), ("fixed", 2, (8,))):
            wellspring(made(), f"export {strategy} {strategy}.safetensors")
            model = released(strategy, 4, second)
            model.load_state_dict(load_file(made() / f"{strategy}.safetensors"), strict=True)
            ours = kept_predictions(strategy)
            for size in sizes:
                theirs = predicted(model, strategy, frames[:3], size).numpy()
                for values, (name, scale) in zip(theirs, scales.items(), strict=True):
                    with self.subTest(f"{strategy} {size} {name}"):
                        found = (ours[size, name] - scale["mean"]) / max(scale["std"], 1e-4)
                        self.assertLess(np.abs(found - values).max(), 1e-5 * np.abs(values).max())


if __name__ == "__main__":
    unittest.main()
