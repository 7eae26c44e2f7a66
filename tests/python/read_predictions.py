"""The Well's own library opens what `wellspring predict` writes."""

import functools
import pathlib
import tempfile
import unittest

import h5py
import numpy as np
from the_well.data import WellDataset
from torch.utils.data import DataLoader

from files import SMALL, wellspring

WORDS = "--rollout 3 --schedule 8,4 --every 2"


@functools.cache
def predicted() -> pathlib.Path:
    """A data set with a scalar that varies in time and a constant field, and predictions of a model and a baseline."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wellspring-"))
    wellspring(folder, "simulate shear-flow sims --shape 32x48 --frames 8 --train 2 --valid 1 --test 2 --seed 9")
    for path in sorted((folder / "sims").rglob("*.hdf5")):
        with h5py.File(path, "a") as file:
            add(file, "scalars", "forcing", np.sin(np.arange(8.0)), time_varying=True)
            mask = add(file, "t0_fields", "mask", np.eye(32, 48, dtype="f4"), time_varying=False)
            mask.attrs["dim_varying"] = [True, True]
    wellspring(folder, "ingest sims ds --transform velocity=asinh:0.1")
    wellspring(folder, f"train --out run {SMALL}")
    wellspring(folder, f"predict run ds --to model {WORDS}")
    wellspring(folder, "predict persistence ds --to still --rollout 3 --context 3 --every 2")
    wellspring(folder, f"predict run ds --to arrays --format npz {WORDS}")
    return folder


def add(file, group, name, values, time_varying):
    names = [*file[group].attrs["field_names"], name]
    file[group].attrs["field_names"] = names
    dataset = file[group].create_dataset(name, data=values)
    dataset.attrs["sample_varying"] = False
    dataset.attrs["time_varying"] = time_varying
    return dataset


class Predictions(unittest.TestCase):
    def open(self, name):
        return WellDataset(
            path=str(predicted() / name / "data" / "test"),
            n_steps_input=3,
            n_steps_output=3,
            use_normalization=False,
            return_grid=True,
        )

    def truth(self):
        """Windows of six frames of each test trajectory, every other start."""
        dataset = WellDataset(
            path=str(predicted() / "sims" / "data" / "test"),
            n_steps_input=3,
            n_steps_output=3,
            use_normalization=False,
            return_grid=True,
            normalize_time_grid=False,
        )
        return [dataset[index] for index in (0, 2, 3, 5)]

    def test_metadata(self):
        ours, source = self.open("model").metadata, WellDataset(
            path=str(predicted() / "sims" / "data" / "test"), use_normalization=False
        ).metadata
        for key in (
            "dataset_name",
            "n_spatial_dims",
            "spatial_resolution",
            "grid_type",
            "field_names",
            "constant_field_names",
            "scalar_names",
        ):
            self.assertEqual(getattr(ours, key), getattr(source, key), key)
        self.assertEqual(sorted(ours.constant_scalar_names), sorted(source.constant_scalar_names))
        self.assertEqual(ours.n_files, 4)
        self.assertEqual(ours.n_steps_per_trajectory, [6] * 4)

    def test_context_is_the_truth(self):
        for name in ("model", "still"):
            for ours, truth in zip(self.open(name), self.truth(), strict=True):
                for key in ("input_fields", "constant_fields", "space_grid", "boundary_conditions"):
                    np.testing.assert_allclose(ours[key].numpy(), truth[key].numpy(), rtol=1e-5, atol=1e-6, err_msg=key)
                times = truth["input_time_grid"].numpy()
                np.testing.assert_allclose(ours["input_time_grid"].numpy(), times - times[0], rtol=1e-6, atol=1e-7)
                # Scalars by name, since files may list them in another order.
                self.assertEqual(sorted(ours["constant_scalars"].tolist()), sorted(truth["constant_scalars"].tolist()))

    def test_scalars_that_vary_in_time_are_those_of_the_frames(self):
        for path in sorted((predicted() / "model").rglob("*.hdf5")):
            with h5py.File(path) as file:
                about = file["prediction"].attrs
                steps = about["start"] + about["stride"] * np.arange(6)
                np.testing.assert_array_equal(file["scalars/forcing"][:], np.sin(steps))
                self.assertEqual((about["name"], about["schedule"], about["context"]), ("run", "8,4", 3))

    def test_arrays_for_numpy_are_those_of_the_hdf5(self):
        files = sorted((predicted() / "arrays").rglob("*.npz"))
        self.assertEqual(len(files), 4)
        for path in files:
            well = predicted() / "model" / path.relative_to(predicted() / "arrays").with_suffix(".hdf5")
            with np.load(path) as arrays, h5py.File(well) as file:
                self.assertEqual(int(arrays["context"]), 3)
                np.testing.assert_array_equal(arrays["tracer"], file["t0_fields/tracer"][0])
                np.testing.assert_array_equal(arrays["velocity"], file["t1_fields/velocity"][0])
                np.testing.assert_array_equal(arrays["mask"], file["t0_fields/mask"][:])
                np.testing.assert_array_equal(arrays["time"], file["dimensions/time"][:])
                np.testing.assert_array_equal(arrays["coordinate_x"], file["dimensions/x"][:])
                np.testing.assert_array_equal(arrays["scalar_forcing"], file["scalars/forcing"][:])

    def test_persistence(self):
        for item in self.open("still"):
            for frame in item["output_fields"]:
                np.testing.assert_array_equal(frame.numpy(), item["input_fields"][-1].numpy())

    def test_batches(self):
        batch = next(iter(DataLoader(self.open("model"), batch_size=4)))
        self.assertEqual(tuple(batch["output_fields"].shape), (4, 3, 32, 48, 4))
        self.assertTrue(np.isfinite(batch["output_fields"].numpy()).all())


if __name__ == "__main__":
    unittest.main()
