"""Times `wellspring bench metrics` and, from Python, `wellspring.metrics` beside The Well's own metrics, on equal fields
and as many threads.

    bench_metrics.py PROGRAM [--repeat N]

Needs numpy, torch and the-well. VRMSE, the binned spectral error and the power spectrum of 64 frames of
128 x 256 x 4 and 8 frames of 64 x 64 x 64 x 6: The Well computes these three; `wellspring` computes all that
`eval` stores, which has them among it. Their means over the fields must agree to 1e-5. Fails where
`wellspring` is not five times as fast.
"""

import argparse
import json
import math
import os
import subprocess
import time
from types import SimpleNamespace

import numpy
import torch
from wellspring import metrics
from the_well.benchmark.metrics import VRMSE, binned_spectral_mse
from the_well.benchmark.metrics.spectral import power_spectrum

THREADS = 2
os.environ["RAYON_NUM_THREADS"] = str(THREADS)
CASES = {"2d": (64, (128, 256), 4), "3d": (8, (64, 64, 64), 6)}
FACTOR = 5.0


def noise(cells):
    """As `cli/src/commands/bench/metrics.rs` has it."""
    mixed = cells.astype(numpy.uint32) * numpy.uint32(2654435761)
    mixed = (mixed ^ mixed >> numpy.uint32(15)) * numpy.uint32(2246822519)
    mixed = (mixed ^ mixed >> numpy.uint32(13)) >> numpy.uint32(8)
    return mixed.astype(numpy.float32) / numpy.float32(16777216) - numpy.float32(0.5)


def fields(frames, space, channels):
    """Truth and prediction in The Well's layout: (frames, *space, channels)."""
    cells = frames * channels * math.prod(space)
    truth = noise(numpy.arange(cells))
    prediction = truth + numpy.float32(0.1) * noise(numpy.arange(cells, 2 * cells))

    def laid_out(values):
        values = values.reshape(frames, channels, *space)
        return torch.from_numpy(numpy.ascontiguousarray(numpy.moveaxis(values, 1, -1)))

    return laid_out(truth), laid_out(prediction)


def theirs(case, repeat):
    """Best time, and the means over the fields."""
    truth, prediction = fields(*case)
    meta = SimpleNamespace(n_spatial_dims=len(case[1]))
    best = math.inf
    for _ in range(repeat):
        began = time.perf_counter()
        vrmse = VRMSE.eval(prediction, truth, meta)
        errors = binned_spectral_mse.eval(prediction, truth, meta)
        _, spectrum, _ = power_spectrum(truth, meta)
        best = min(best, time.perf_counter() - began)

    def bands(kind):
        return [errors[f"spectral_error_{kind}_per_bin_{band}"].double().mean().item() for band in range(3)]

    return best, {
        "vrmse": vrmse.double().mean().item(),
        "band_mse": bands("mse"),
        "band_nmse": bands("nmse"),
        "spectrum": spectrum.double().mean(dim=(0, -1)).tolist(),
    }


def ours(program, name, repeat):
    call = [program, "bench", "metrics", "--json", "--case", name, "--repeat", str(repeat)]
    environment = os.environ | {"RAYON_NUM_THREADS": str(THREADS)}
    shown = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    figures = json.loads(shown.stdout)[0]
    return figures["seconds"], figures["means"]


def from_python(case, repeat):
    """Best times of the three on tensors, and of VRMSE alone, with The Well's for VRMSE."""
    truth, prediction = fields(*case)
    ndim = len(case[1])
    meta = SimpleNamespace(n_spatial_dims=ndim)

    def best(measure):
        times = []
        for _ in range(repeat):
            began = time.perf_counter()
            measure()
            times.append(time.perf_counter() - began)
        return min(times)

    def all_three():
        metrics.vrmse(prediction, truth, ndim)
        metrics.band_errors(prediction, truth, ndim)
        metrics.spectrum(truth, ndim)

    alone = best(lambda: metrics.vrmse(prediction, truth, ndim))
    return best(all_three), alone, best(lambda: VRMSE.eval(prediction, truth, meta))


def apart(mine, other):
    """The largest difference, relative to the value."""
    mine, other = (numpy.atleast_1d(values) for values in (mine, other))
    if mine.shape != other.shape:
        raise SystemExit(f"{mine.shape} and {other.shape} values")
    return float(numpy.max(numpy.abs(mine - other) / numpy.abs(other)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    slow = []
    for name, case in CASES.items():
        seconds, mine = ours(args.program, name, args.repeat)
        well, other = theirs(case, args.repeat)
        print(f"{name}: wellspring {seconds:.3f} s, The Well {well:.3f} s, {well / seconds:.1f} times as fast")
        python, alone, theirs_alone = from_python(case, args.repeat)
        print(
            f"    from Python {python:.3f} s, {well / python:.1f} times as fast; VRMSE alone {alone:.3f} s beside "
            f"{theirs_alone:.3f} s, {theirs_alone / alone:.1f} times"
        )
        for metric in other:
            worst = apart(mine[metric], other[metric])
            print(f"    {metric:<10} agree to {worst:.1e}")
            if not worst <= 1e-5:
                raise SystemExit(f"{name}: {metric} is {mine[metric]} here, {other[metric]} there")
        slow += [name] if well < FACTOR * seconds else []
    if slow:
        raise SystemExit(f"less than {FACTOR:g} times as fast: {', '.join(slow)}")


if __name__ == "__main__":
    main()
