"""Metrics of arrays and tensors, by The Well's definitions, in f64 and on all cores.

Fields are (..., *space, C), as The Well has them, of NumPy, PyTorch or JAX; they are read as f32. What comes back has a
value for each leading index and channel, (..., C). ``n_spatial_dims`` is the number of axes of space, or anything that
has it, such as a data set's ``metadata``. Values should be in the fields' own units: variances do not mind a shift, but
relative errors do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wellspring import _native
from wellspring.tensors import like, to_numpy

__all__ = [
    "BandErrors",
    "Spectrum",
    "artefact_ratio",
    "band_errors",
    "linf",
    "mae",
    "mse",
    "nmae",
    "nmse",
    "nrmse",
    "pearson",
    "rmse",
    "spatial",
    "spectrum",
    "vmse",
    "vrmse",
]


class BandErrors(NamedTuple):
    """Errors within bands of wavenumbers, (..., C, bands)."""

    edges: NDArray[np.float64]
    """Of the bands, in radians per cell."""
    mse: Any
    """Energy of the residual in the band."""
    nmse: Any
    """The same, relative to the truth's energy there: The Well's code."""
    nmse_of_prediction: Any
    """The same, relative to the prediction's energy there: the paper's Eq. 16."""


class Spectrum(NamedTuple):
    """The Well's isotropic power spectrum."""

    edges: NDArray[np.float32]
    """Of the bins, in radians per cell."""
    power: Any
    """Mean |X|² in each bin, (..., C, bins)."""


def spatial(prediction: Any, truth: Any, n_spatial_dims: Any) -> dict[str, Any]:
    """All of The Well's metrics over space, by name."""
    arrays, leading, channels = _fields((prediction, truth), n_spatial_dims)
    found = _native.score(arrays[0], arrays[1], False, None)
    return {name: like(values.reshape(*leading, channels), truth) for name, values in found.items()}


def vrmse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Root mean squared error over the standard deviation of the truth: 1 is as bad as the truth's mean."""
    return spatial(prediction, truth, n_spatial_dims)["vrmse"]


def vmse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Mean squared error over the variance of the truth."""
    return spatial(prediction, truth, n_spatial_dims)["vmse"]


def mse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Mean squared error."""
    return spatial(prediction, truth, n_spatial_dims)["mse"]


def rmse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Root mean squared error."""
    return spatial(prediction, truth, n_spatial_dims)["rmse"]


def mae(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Mean absolute error."""
    return spatial(prediction, truth, n_spatial_dims)["mae"]


def nmse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Mean squared error over the mean square of the truth."""
    return spatial(prediction, truth, n_spatial_dims)["nmse"]


def nrmse(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Root of :func:`nmse`."""
    return spatial(prediction, truth, n_spatial_dims)["nrmse"]


def nmae(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Mean absolute error over the mean magnitude of the truth."""
    return spatial(prediction, truth, n_spatial_dims)["nmae"]


def linf(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """The largest error."""
    return spatial(prediction, truth, n_spatial_dims)["linf"]


def pearson(prediction: Any, truth: Any, n_spatial_dims: Any) -> Any:
    """Correlation; The Well divides a biased covariance by unbiased deviations."""
    return spatial(prediction, truth, n_spatial_dims)["pearson"]


def band_errors(
    prediction: Any, truth: Any, n_spatial_dims: Any, bands: list[float] | None = None
) -> BandErrors:
    """Errors within bands of wavenumbers: The Well's three, or those between edges in radians per cell, ascending."""
    arrays, leading, channels = _fields((prediction, truth), n_spatial_dims)
    found = _native.score(arrays[0], arrays[1], True, bands)
    edges = found.pop("edges")
    shaped = {name: like(values.reshape(*leading, channels, -1), truth) for name, values in found.items()}
    return BandErrors(edges, **shaped)


def spectrum(fields: Any, n_spatial_dims: Any) -> Spectrum:
    """The Well's isotropic power spectrum of fields."""
    arrays, leading, channels = _fields((fields,), n_spatial_dims)
    edges, power = _native.spectrum(arrays[0])
    return Spectrum(edges, like(power.reshape(*leading, channels, -1), fields))


def artefact_ratio(residual: Any, cells: int, patch: int) -> float | None:
    """How far the harmonics of a patch size stand out of a residual's spectrum.

    ``residual`` is the energy by whole waves along an axis of so many cells, as the table ``spectra`` has it. None where
    the patch size leaves no harmonics on such an axis.
    """
    values = np.ascontiguousarray(np.asarray(residual, dtype=np.float64))
    return _native.artefact_ratio(values, cells, patch)


def _fields(
    arrays: tuple[Any, ...], n_spatial_dims: Any
) -> tuple[list[NDArray[np.float32]], tuple[int, ...], int]:
    """Fields as (N, *space, C), with their leading shape and number of channels."""
    ndim = int(getattr(n_spatial_dims, "n_spatial_dims", n_spatial_dims))
    found = [to_numpy(array) for array in arrays]
    shape = found[0].shape
    if ndim < 1 or len(shape) < ndim + 1:
        raise ValueError(f"fields of shape {shape} with {ndim} axes of space: expected (..., *space, C)")
    if any(array.shape != shape for array in found):
        raise ValueError(f"fields of different shapes: {', '.join(str(array.shape) for array in found)}")
    leading = shape[: len(shape) - ndim - 1]
    flat = [array.reshape(math.prod(leading), *shape[len(leading) :]) for array in found]
    return flat, leading, shape[-1]
