"""Data sets as Python sees them: what they say of themselves, and their frames."""

import concurrent.futures
import glob
import multiprocessing
import pickle
import subprocess
import sys
import unittest

import h5py
import numpy as np
import pyarrow as pa
import wellspring
from files import made


def first_value(dataset):
    return float(dataset.frames("train", 0, 0, 1)["pressure"][0, 0, 0])


class Dataset(unittest.TestCase):
    def setUp(self):
        self.dataset = wellspring.Dataset(made() / "ds")

    def source(self, trajectory):
        name, _, _ = self.dataset.splits["train"][trajectory].source.partition("#")
        found = glob.glob(str(made() / "flat" / "**" / name.split("/")[-1]), recursive=True)
        return h5py.File(found[0])

    def test_it_says_what_it_holds(self):
        schema = self.dataset.schema
        self.assertEqual(schema.grid.shape, (32, 48))
        self.assertEqual([axis.boundary for axis in schema.grid.axes], [("periodic", "periodic")] * 2)
        self.assertEqual(self.dataset.channels, ["tracer", "pressure", "velocity_x", "velocity_y"])
        self.assertEqual({name: len(held) for name, held in self.dataset.splits.items()}, {"train": 3, "valid": 1, "test": 2})
        self.assertEqual(self.dataset.splits["train"][0].frames, 8)
        self.assertIn("Reynolds", self.dataset.splits["train"][0].parameters)
        self.assertIn("std", self.dataset.statistics["pressure"])
        self.assertEqual(self.dataset.metadata.n_fields, 4)

    def test_frames_are_those_of_the_source(self):
        frames = self.dataset.frames("train", 1, 2, 7, normalized=False)
        with self.source(1) as file:
            stored = file["t1_fields"]["velocity"][0, 2:7]
            np.testing.assert_allclose(frames["velocity_x"], stored[..., 0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(frames["pressure"], file["t0_fields"]["pressure"][0, 2:7], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(self.dataset.times("train", 1, 2, 7), file["dimensions"]["time"][2:7])

    def test_frames_of_a_mapped_shard_are_not_copied(self):
        frames = self.dataset.frames("train", 0)
        pressure = frames["pressure"]
        self.assertFalse(pressure.flags.writeable)
        address = pressure.__array_interface__["data"][0]
        with open("/proc/self/maps") as maps:
            lines = (line.split() for line in maps)
            spans = [(*(int(end, 16) for end in line[0].split("-")), line[-1]) for line in lines]
        (name,) = [name for start, end, name in spans if start <= address < end]
        self.assertTrue(name.endswith(".arrow"), name)
        with pa.memory_map(name) as file:
            column = pa.ipc.open_file(file).read_all().column("pressure").combine_chunks()
            np.testing.assert_array_equal(np.asarray(column.to_numpy_ndarray())[:8].reshape(pressure.shape), pressure)
        # The shard outlives the data set that it was read through.
        del self.dataset
        self.assertTrue(np.isfinite(pressure.sum()))

    def test_what_is_not_there_is_said(self):
        with self.assertRaisesRegex(wellspring.Error, "no/such/place.*manifest"):
            wellspring.Dataset("/no/such/place")
        with self.assertRaisesRegex(ValueError, "no split dev; it has"):
            self.dataset.frames("dev", 0)
        with self.assertRaisesRegex(IndexError, "3 trajectories in train, and no 3"):
            self.dataset.frames("train", 3)
        with self.assertRaisesRegex(IndexError, "8"):
            self.dataset.frames("train", 0, 4, 9)

    def test_it_goes_to_other_processes(self):
        value = first_value(self.dataset)
        self.assertEqual(first_value(pickle.loads(pickle.dumps(self.dataset))), value)
        for start in ("fork", "fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(start)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                self.assertEqual(pool.submit(first_value, self.dataset).result(60), value, start)

    def test_an_import_starts_no_thread(self):
        count = "len(os.listdir('/proc/self/task'))"
        look = f"import os, numpy; before = {count}; import wellspring; print({count} - before)"
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "0")


if __name__ == "__main__":
    unittest.main()
