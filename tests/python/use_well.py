"""The look-alike of The Well's data set beside The Well's own, on the same simulations."""

import unittest

import numpy as np
import torch
import wellspring
from files import made
from read_predictions import predicted
from the_well.data import WellDataset
from the_well.data.normalization import ZScoreNormalization


class Well(unittest.TestCase):
    def both(self, **more):
        theirs = WellDataset(
            path=str(made() / "flat" / "data" / "train"), n_steps_input=3, n_steps_output=2, **more.pop("their", {}), **more
        )
        ours = wellspring.WellDataset(made() / "ds", n_steps_input=3, n_steps_output=2, **more)
        return ours, theirs

    def assert_equal(self, ours, theirs, numbers=None):
        """Items are equal; `numbers` is the type of ours where theirs has the file's."""
        self.assertEqual(len(ours), len(theirs))
        for index in range(len(theirs)):
            mine, other = ours[index], theirs[index]
            self.assertEqual(mine.keys(), other.keys())
            for key, value in other.items():
                self.assertEqual(mine[key].shape, value.shape, key)
                self.assertEqual(mine[key].dtype, numbers or value.dtype, key)
                np.testing.assert_allclose(mine[key], value, rtol=2e-5, atol=2e-5, err_msg=f"{index} {key}")

    def test_items_are_theirs(self):
        self.assert_equal(*self.both())

    def test_normalized_items_are_theirs(self):
        normalization = {
            "normalization_type": ZScoreNormalization,
            "normalization_path": str(made() / "ds" / "stats.yaml"),
        }
        self.assert_equal(*self.both(use_normalization=True, their=normalization))

    def test_strides_and_what_is_left_out_are_theirs(self):
        self.assert_equal(*self.both(min_dt_stride=1, return_grid=False, boundary_return_type=None))
        ours, theirs = self.both(min_dt_stride=1, normalize_time_grid=False)
        self.assert_equal(ours, theirs)

    def test_constant_fields_and_scalars_are_theirs(self):
        folder = predicted()
        theirs = WellDataset(path=str(folder / "sims" / "data" / "train"), n_steps_input=3, n_steps_output=2)
        ours = wellspring.WellDataset(folder / "ds", n_steps_input=3, n_steps_output=2)
        self.assertIn("constant_fields", theirs[0])
        self.assertIn("input_scalars", theirs[0])
        self.assert_equal(ours, theirs, numbers=torch.float32)

    def test_metadata_are_theirs(self):
        ours, theirs = self.both()
        for name in ("dataset_name", "n_spatial_dims", "spatial_resolution", "field_names", "constant_field_names",
                     "constant_scalar_names", "boundary_condition_types", "grid_type", "n_fields", "sample_shapes"):
            self.assertEqual(getattr(ours.metadata, name), getattr(theirs.metadata, name), name)

    def test_worker_processes_read_it(self):
        ours, _ = self.both()
        whole = [item["input_fields"] for item in ours]
        for start in ("fork", "spawn"):
            loader = torch.utils.data.DataLoader(
                ours, batch_size=4, num_workers=2, multiprocessing_context=start, timeout=120
            )
            read = torch.cat([batch["input_fields"] for batch in loader])
            self.assertTrue(torch.equal(read, torch.stack(whole)), start)


if __name__ == "__main__":
    unittest.main()
