"""pyarrow reads shards as tensors; their values and statistics are the HDF5's and NumPy's."""

import json
import unittest

import h5py
import numpy as np
import pyarrow as pa
import yaml

from files import made


def simulated(split):
    """Channels of every file of a split, in order: {channel: (files, frames, *space)}."""
    channels = {}
    for path in sorted((made() / "flat" / "data" / split).glob("*.hdf5")):
        with h5py.File(path) as file:
            for name, values in file["t0_fields"].items():
                channels.setdefault(name, []).append(values[0])
            for axis, letter in enumerate("xy"):
                channels.setdefault(f"velocity_{letter}", []).append(file["t1_fields"]["velocity"][0, ..., axis])
    return {name: np.stack(values).astype(np.float64) for name, values in channels.items()}


class Shards(unittest.TestCase):
    def setUp(self):
        self.manifest = json.loads((made() / "ds" / "manifest.json").read_text())
        self.statistics = self.manifest["statistics"]

    def table(self, split):
        shards = self.manifest["splits"][split]["shards"]
        tables = []
        for shard in shards:
            with pa.memory_map(str(made() / "ds" / shard["path"])) as file:
                tables.append(pa.ipc.open_file(file).read_all())
        return pa.concat_tables(tables)

    def test_tensors_hold_the_simulations_values(self):
        for split in ("train", "valid", "test"):
            table = self.table(split)
            expected = simulated(split)
            self.assertEqual(set(table.column_names), {"trajectory", "step", "time", *expected})
            for name, values in expected.items():
                column = table.column(name).combine_chunks()
                self.assertEqual(column.type.extension_name, "arrow.fixed_shape_tensor")
                held = column.to_numpy_ndarray()
                self.assertEqual(held.shape, (values.shape[0] * values.shape[1], 32, 48))
                mean, std = self.statistics[name]["mean"], max(self.statistics[name]["std"], 1e-4)
                found = held.astype(np.float64) * std + mean
                expected_values = values.reshape(found.shape)
                # One rounding to f32 of a normalized value.
                tolerance = 2**-24 * (np.abs(expected_values - mean) + np.abs(expected_values)) + 1e-30
                self.assertTrue((np.abs(found - expected_values) <= 2 * tolerance).all(), name)

    def test_statistics_are_numpys(self):
        for name, values in simulated("train").items():
            change = np.diff(values, axis=1)
            expected = {
                "mean": values.mean(),
                "std": values.std(),
                "rms": np.sqrt((values**2).mean()),
                "mean_delta": change.mean(),
                "std_delta": change.std(),
                "rms_delta": np.sqrt((change**2).mean()),
            }
            for key, value in expected.items():
                scale = expected["rms_delta"] if key.endswith("delta") else expected["rms"]
                self.assertLessEqual(abs(self.statistics[name][key] - value), 1e-5 * scale, f"{name} {key}")

    def test_the_wells_statistics_file(self):
        held = yaml.safe_load((made() / "ds" / "stats.yaml").read_text())
        self.assertEqual(set(held), {"mean", "std", "rms", "mean_delta", "std_delta", "rms_delta"})
        self.assertAlmostEqual(held["mean"]["tracer"], self.statistics["tracer"]["mean"])
        self.assertEqual(len(held["std"]["velocity"]), 2)

    def test_rows_are_sorted(self):
        table = self.table("train")
        keys = list(zip(table["trajectory"].to_pylist(), table["step"].to_pylist()))
        self.assertEqual(keys, [(trajectory, step) for trajectory in range(3) for step in range(8)])


if __name__ == "__main__":
    unittest.main()
