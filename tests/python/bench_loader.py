"""Windows a second: wellspring's loader beside The Well's and, where they are installed, litdata's and
MosaicML's, on the same simulations, in one run.

    python tests/python/bench_loader.py target/release/wellspring [--seconds 4] [--json]

A window is 6 + 1 frames of four channels on 128 x 256, z-scored; four in a batch, shuffled; pages in
memory; the consumer does nothing with a batch. Each of the others gets its best number of workers.
wellspring's windows are views of frames; litdata and MosaicML store every window, seven times the data.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import warnings

# Fresh batches of 15 MB are half of what the others cost unless their memory is kept.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(8 << 30))

import numpy as np
import torch
from the_well.data import WellDataset
from the_well.data.normalization import ZScoreNormalization

CONTEXT, TARGET, BATCH = 6, 1, 4
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def wellspring(program, words, folder):
    done = subprocess.run([program, *words.split()], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"wellspring {words}\n{done.stderr}")
    return done.stdout


def rate(batches, windows, seconds):
    """Windows a second once the first batch is there, epoch after epoch."""
    source = iter(batches())
    next(source)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        batch = next(source, None)
        if batch is None:
            source = iter(batches())
            continue
        count += windows(batch)
    return count / (time.perf_counter() - began)


def loader(dataset, workers, **more):
    if workers:
        more |= {"persistent_workers": True, "multiprocessing_context": "fork"}
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=workers, drop_last=True, **more)


def best_of(make, windows, workers, seconds):
    """The best rate over numbers of workers, and which."""
    rates = {}
    for count in workers:
        batches = make(count)
        rates[count] = rate(lambda: batches, windows, seconds)
        del batches
    best = max(rates, key=rates.get)
    return rates[best], best


def the_well(folder, workers, seconds):
    dataset = WellDataset(
        path=str(folder / "simulations" / "data" / "train"),
        n_steps_input=CONTEXT,
        n_steps_output=TARGET,
        use_normalization=True,
        normalization_type=ZScoreNormalization,
        normalization_path=str(folder / "ds" / "stats.yaml"),
    )
    make = lambda count: loader(dataset, count, shuffle=True)
    return dataset, best_of(make, lambda batch: len(batch["input_fields"]), workers, seconds)


def stored(dataset):
    """Every window as one array, (T, *space, C)."""
    for index in range(len(dataset)):
        item = dataset[index]
        yield np.concatenate([item["input_fields"].numpy(), item["output_fields"].numpy()])


def litdata(folder, dataset, workers, seconds):
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    place = folder / "litdata"
    writer = BinaryWriter(str(place), chunk_bytes=64 << 20)
    for index, window in enumerate(stored(dataset)):
        writer.add_item(index, {"x": window})
    writer.done()
    writer.merge()
    held = StreamingDataset(str(place), shuffle=True, drop_last=True, seed=1)

    def make(count):
        more = {"persistent_workers": True, "multiprocessing_context": "fork"} if count else {}
        return StreamingDataLoader(held, batch_size=BATCH, num_workers=count, drop_last=True, **more)

    return best_of(make, lambda batch: len(batch["x"]), workers, seconds)


def mosaicml(folder, dataset, workers, seconds):
    from streaming import MDSWriter, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    place, columns = str(folder / "mds"), None
    windows = stored(dataset)
    first = next(windows)
    columns = {"x": f"ndarray:float32:{','.join(map(str, first.shape))}"}
    with MDSWriter(out=place, columns=columns, size_limit=1 << 26) as writer:
        writer.write({"x": first})
        for window in windows:
            writer.write({"x": window})

    def make(count):
        clean_stale_shared_memory()
        held = StreamingDataset(local=place, shuffle=True, batch_size=BATCH, shuffle_seed=1)
        return loader(held, count)

    return best_of(make, lambda batch: len(batch["x"]), workers, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wellspring", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--train", type=int, default=8, help="trajectories")
    parser.add_argument("--frames", type=int, default=50, help="frames of each")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[0, 2, 4])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    folder = pathlib.Path(tempfile.mkdtemp(prefix="wellspring-bench-"))
    try:
        shape = f"--shape 128x256 --frames {asked.frames} --train {asked.train} --valid 0 --test 0"
        wellspring(asked.wellspring, f"simulate shear-flow simulations {shape}", folder)
        wellspring(asked.wellspring, "ingest simulations ds", folder)
        ours = json.loads(wellspring(asked.wellspring, "bench loader --data ds --json", folder))
        fastest = max(figure["windows_per_second"] for figure in ours)
        rows = []
        dataset, (found, workers) = the_well(folder, asked.workers, asked.seconds)
        rows.append({"loader": f"The Well, z-scored, {workers} workers", "windows_per_second": found})
        for name, peer in (("litdata", litdata), ("MosaicML streaming", mosaicml)):
            try:
                found, workers = peer(folder, dataset, asked.workers, asked.seconds)
            except ImportError:
                continue
            rows.append({"loader": f"{name}, {workers} workers", "windows_per_second": found})
        for row in rows:
            row["wellspring_is_times"] = fastest / row["windows_per_second"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps({"rows": rows, "bench_loader": ours}))
        return
    for figure in ours:
        print(f"{'wellspring, threads: ' + str(figure['threads']):<34}{figure['windows_per_second']:>10.0f} windows/s")
    for row in rows:
        print(f"{row['loader']:<34}{row['windows_per_second']:>10.0f} windows/s{row['wellspring_is_times']:>8.1f}x")


if __name__ == "__main__":
    main()
