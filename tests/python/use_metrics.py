"""Metrics beside The Well's own, on arrays of NumPy, PyTorch and JAX."""

import unittest
from types import SimpleNamespace

import numpy as np
import the_well.benchmark.metrics as theirs
import torch
import wellspring
from the_well.benchmark.metrics.spectral import power_spectrum
from wellspring import metrics

WELL = {
    "mse": theirs.MSE, "mae": theirs.MAE, "rmse": theirs.RMSE, "nmse": theirs.NMSE, "nrmse": theirs.NRMSE,
    "vmse": theirs.VMSE, "vrmse": theirs.VRMSE, "linf": theirs.LInfinity, "pearson": theirs.PearsonR,
}


class Metrics(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def fields(self, *shape):
        truth = torch.randn(shape)
        return truth + 0.3 * torch.randn(shape), truth, SimpleNamespace(n_spatial_dims=len(shape) - 3)

    def test_they_are_the_wells(self):
        for shape in ((2, 3, 40, 2), (2, 3, 16, 24, 4), (1, 2, 8, 12, 16, 3)):
            prediction, truth, meta = self.fields(*shape)
            for name, metric in WELL.items():
                mine = getattr(metrics, name)(prediction, truth, meta)
                other = metric.eval(prediction, truth, meta)
                self.assertEqual(mine.shape, other.shape)
                np.testing.assert_allclose(mine, other, rtol=2e-5, atol=1e-6, err_msg=f"{name} {shape}")

    def test_bands_and_spectra_are_the_wells(self):
        prediction, truth, meta = self.fields(2, 3, 32, 48, 2)
        other = theirs.binned_spectral_mse.eval(prediction, truth, meta)
        mine = metrics.band_errors(prediction, truth, meta)
        for band in range(3):
            np.testing.assert_allclose(mine.mse[..., band], other[f"spectral_error_mse_per_bin_{band}"], rtol=1e-4)
            np.testing.assert_allclose(mine.nmse[..., band], other[f"spectral_error_nmse_per_bin_{band}"], rtol=1e-4)
        self.assertEqual(len(mine.edges), 4)
        own = metrics.band_errors(prediction, truth, 2, bands=[0.0, 1.0, 4.0])
        np.testing.assert_allclose(own.edges, [0.0, 1.0, 4.0])
        edges, spectrum, _ = power_spectrum(truth, meta)
        # The Well's have the bins before the channels.
        np.testing.assert_allclose(metrics.spectrum(truth, meta).power, spectrum.movedim(-1, -2), rtol=1e-4)

    def test_libraries_and_layouts_do_not_matter(self):
        import jax

        prediction, truth, _ = self.fields(2, 3, 16, 24, 4)
        expected = metrics.vrmse(prediction, truth, 2)
        self.assertIsInstance(expected, torch.Tensor)
        arrays = metrics.vrmse(prediction.numpy(), truth.numpy(), 2)
        self.assertIsInstance(arrays, np.ndarray)
        np.testing.assert_array_equal(arrays, expected)
        of_jax = metrics.vrmse(jax.numpy.asarray(prediction.numpy()), jax.numpy.asarray(truth.numpy()), 2)
        self.assertIsInstance(of_jax, jax.Array)
        np.testing.assert_allclose(of_jax, expected, rtol=1e-6)
        first = [field.movedim(-1, 2).contiguous().movedim(2, -1) for field in (prediction, truth)]
        np.testing.assert_array_equal(metrics.vrmse(*first, 2), expected)
        leaf = prediction.clone().requires_grad_()
        np.testing.assert_array_equal(metrics.vrmse(leaf, truth.to(torch.float64), 2), expected)
        np.testing.assert_array_equal(metrics.vrmse(prediction[0, 0], truth[0, 0], 2), expected[0, 0])

    def test_shapes_that_make_no_sense_are_refused(self):
        with self.assertRaisesRegex(ValueError, "different shapes"):
            metrics.vrmse(np.zeros((4, 4, 1)), np.zeros((4, 5, 1)), 2)
        with self.assertRaisesRegex(ValueError, "expected"):
            metrics.vrmse(np.zeros(4), np.zeros(4), 2)
        with self.assertRaisesRegex(ValueError, "none of them 0"):
            metrics.vrmse(np.zeros((0, 4, 1)), np.zeros((0, 4, 1)), 2)

    def test_harmonics_stand_out_of_a_flat_spectrum(self):
        flat = np.ones(33)
        self.assertAlmostEqual(metrics.artefact_ratio(flat, 64, 8), 1.0)
        flat[[8, 16, 24]] = 10.0
        self.assertGreater(metrics.artefact_ratio(flat, 64, 8), 5.0)
        self.assertIsNone(metrics.artefact_ratio(flat, 64, 7))
        self.assertTrue(issubclass(wellspring.Error, Exception))


if __name__ == "__main__":
    unittest.main()
