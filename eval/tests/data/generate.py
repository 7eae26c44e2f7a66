"""Writes the metrics that The Well's own code gives: generate.py OUT.

Needs numpy, safetensors, torch and the-well. Each metrics-NAME.safetensors holds `truth` and `prediction`
(T, *space, C); The Well's metrics by name, (T, C), those of whole rollouts (C,); `spectrum` (T, bins, C) of
the truth and its `spectrum.bins`; of the three default bands `mse.I` and `nmse.I` (T, C); and of bands by
`own.bins` likewise `own.mse.I` and `own.nmse.I`.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import torch
from safetensors.torch import save_file
from the_well.benchmark import metrics
from the_well.benchmark.metrics.spectral import power_spectrum

SPATIAL = "MSE MAE RMSE NMSE NMAE NRMSE VMSE VRMSE LInfinity PearsonR".split()
CASES = {"1d": (50,), "odd": (15, 21), "flat": (1, 24, 9)}
# The first begins above 0 and the last ends below the highest wavenumber.
OWN = torch.tensor([0.0, 0.6, 1.1, 2.5])


def waves(random, frames, space, channels):
    """Drifting waves of falling amplitude, off zero."""
    grid = numpy.meshgrid(*(2 * numpy.pi * numpy.arange(n) / n for n in space), indexing="ij")
    field = numpy.zeros((frames, *space, channels))
    for time, channel in numpy.ndindex(frames, channels):
        field[time, ..., channel] = 0.3 * channel
        for wave in range(1, 6):
            phase = sum((wave + i) * axis for i, axis in enumerate(grid)) - 0.4 * wave * time + channel
            field[time, ..., channel] += numpy.cos(phase) / wave
    return field + 0.05 * random.standard_normal(field.shape)


def bands(prediction, truth, meta, prefix, bins=None):
    errors = metrics.binned_spectral_mse.eval(prediction, truth, meta, bins=bins)
    for name, values in errors.items():
        kind, band = name.removeprefix("spectral_error_").split("_per_bin_")
        yield f"{prefix}{kind}.{band}", values


def case(random, space):
    truth = waves(random, 5, space, 2)
    prediction = torch.tensor(truth + 0.1 * random.standard_normal(truth.shape), dtype=torch.float32)
    truth = torch.tensor(truth, dtype=torch.float32)
    meta = SimpleNamespace(n_spatial_dims=len(space))
    found = {"truth": truth, "prediction": prediction, "own.bins": OWN}
    found |= {name: getattr(metrics, name).eval(prediction, truth, meta) for name in SPATIAL}
    # Rollouts come in batches.
    found["HistogramW1"] = metrics.HistogramW1.eval(prediction[None], truth[None], meta)[0]
    warped = metrics.WindowedDTW.eval(prediction[None], truth[None], meta)
    found |= {name: values[0] for name, values in warped.items()}
    found["spectrum.bins"], found["spectrum"], _ = power_spectrum(truth, meta)
    found |= dict(bands(prediction, truth, meta, ""))
    found |= dict(bands(prediction, truth, meta, "own.", OWN))
    return {name: values.contiguous() for name, values in found.items()}


def main():
    random = numpy.random.default_rng(0)
    for name, space in CASES.items():
        save_file(case(random, space), Path(sys.argv[1]) / f"metrics-{name}.safetensors")


if __name__ == "__main__":
    main()
