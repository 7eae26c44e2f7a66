"""The Well's own library opens what `wellspring simulate` writes."""

import unittest

import numpy as np
from the_well.data import WellDataset

from files import made


class Simulations(unittest.TestCase):
    def open(self, name, ndim, fields):
        dataset = WellDataset(
            path=str(made() / name / "data" / "train"),
            n_steps_input=2,
            n_steps_output=1,
            use_normalization=False,
        )
        self.assertEqual(dataset.metadata.n_spatial_dims, ndim)
        names = [name for group in dataset.metadata.field_names.values() for name in group]
        self.assertEqual(names, fields)
        item = dataset[0]
        self.assertEqual(tuple(item["input_fields"].shape), (2, *dataset.metadata.spatial_resolution, len(fields)))
        self.assertTrue(np.isfinite(item["input_fields"].numpy()).all())
        self.assertTrue((item["boundary_conditions"] == 2).all())
        return dataset

    def test_flat(self):
        dataset = self.open("flat", 2, ["tracer", "pressure", "velocity_x", "velocity_y"])
        self.assertEqual(dataset.metadata.n_files, 3)
        self.assertEqual(len(dataset), 3 * (8 - 2))

    def test_cubes(self):
        fields = ["tracer", "pressure", "velocity_x", "velocity_y", "velocity_z"]
        self.open("cubes", 3, fields)


if __name__ == "__main__":
    unittest.main()
