"""Windows a second in PyTorch: wellspring's loader beside The Well's and, where they are installed, litdata's,
MosaicML's, zarr (with zarrs, if it is there) and tensorstore, on the same simulations, in one run.

    python tests/python/bench_loader.py [--seconds 4] [--json]
    python tests/python/bench_loader.py --bucket target/release/wellspring-s3-testing

The others are in bench-requirements.txt. A window is 6 + 1 frames of four channels on 128 x 256, z-scored; four in a batch, shuffled; every batch arrives as a
tensor in this process, which reads one number of it. Each of the others gets its best number of worker processes.
wellspring, zarr and tensorstore store frames; litdata and MosaicML store every window, seven times the data.

Without --bucket the data are files whose pages are in memory. With it they lie in a bucket of a server on this machine,
and a rate is that of the first epoch, with nothing held, from the opening of the data set on. The Well's loader has no way
to it.
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
import wellspring
from the_well.data import WellDataset
from the_well.data.normalization import ZScoreNormalization

CONTEXT, TARGET, BATCH = 6, 1, 4
FRAMES = CONTEXT + TARGET
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class Place:
    """Where the loaders find their data: a folder, and a bucket if there is one."""

    def __init__(self, folder, endpoint=None):
        self.folder, self.endpoint = folder, endpoint
        self.used = 0
        if endpoint:
            os.environ |= {
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "S3_ENDPOINT_URL": endpoint,
            }

    def put(self, name):
        """Copies a folder into the bucket, if there is one."""
        if self.endpoint:
            import boto3

            client = boto3.client("s3", endpoint_url=self.endpoint)
            for file in sorted((self.folder / name).rglob("*")):
                if file.is_file():
                    client.upload_file(str(file), "bench", str(file.relative_to(self.folder)))

    def of(self, name):
        return f"s3://bench/{name}" if self.endpoint else str(self.folder / name)

    def fresh(self):
        """A folder that nothing was cached in yet."""
        self.used += 1
        return str(self.folder / f"cache-{self.used}")


def touch(batch):
    return float(batch[(0,) * batch.ndim])


def rate(batches, seconds):
    """Windows a second once the first batch is there, epoch after epoch."""
    source = iter(batches())
    next(source)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        batch = next(source, None)
        if batch is None:
            source = iter(batches())
            continue
        touch(batch)
        count += len(batch)
    return count / (time.perf_counter() - began)


def first_epoch(batches):
    """Windows a second of one epoch, with its beginning."""
    count, began = 0, time.perf_counter()
    for batch in batches():
        touch(batch)
        count += len(batch)
    return count / (time.perf_counter() - began)


def best_of(place, make, choices, seconds):
    """The best rate over numbers of workers or threads, and which. `make` opens all anew for a bucket."""
    rates = {}
    for count in choices:
        if place.endpoint:
            rates[count] = first_epoch(lambda: make(count))
        else:
            batches = make(count)
            rates[count] = rate(lambda: batches, seconds)
            del batches
    best = max(rates, key=rates.get)
    return rates[best], best


class Batches:
    """The batches of a loader, as one tensor each."""

    def __init__(self, loader, take):
        self.loader, self.take = loader, take

    def __iter__(self):
        return (self.take(batch) for batch in self.loader)


def loader(dataset, workers, take, **more):
    if workers:
        more |= {"persistent_workers": True, "multiprocessing_context": "fork"}
    loaded = torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=workers, drop_last=True, **more)
    return Batches(loaded, take)


def ours(place, seconds):
    place.put("ds")
    lanes = 8 if place.endpoint else None

    def make(threads):
        read = wellspring.Loader(
            place.of("ds"), context=CONTEXT, target=TARGET, batch=BATCH, threads=threads, lanes=lanes, drop_last=True
        )
        return Batches(read, lambda batch: batch["input_fields"])

    return best_of(place, make, (1, 2), seconds)


def the_well(folder):
    return WellDataset(
        path=str(folder / "simulations" / "data" / "train"),
        n_steps_input=CONTEXT,
        n_steps_output=TARGET,
        use_normalization=True,
        normalization_type=ZScoreNormalization,
        normalization_path=str(folder / "ds" / "stats.yaml"),
    )


def theirs(place, workers, seconds):
    dataset = the_well(place.folder)
    make = lambda count: loader(dataset, count, lambda batch: batch["input_fields"], shuffle=True)
    return best_of(place, make, workers, seconds)


def stored(folder):
    """Every window as one array, (T, *space, C)."""
    dataset = the_well(folder)
    for index in range(len(dataset)):
        item = dataset[index]
        yield np.concatenate([item["input_fields"].numpy(), item["output_fields"].numpy()])


def litdata(place, workers, seconds):
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(place.folder / "litdata"), chunk_bytes=64 << 20)
    for index, window in enumerate(stored(place.folder)):
        writer.add_item(index, {"x": window})
    writer.done()
    writer.merge()
    place.put("litdata")
    more = {}
    if place.endpoint:
        from litdata.streaming import downloader

        more = {"storage_options": {"endpoint_url": place.endpoint}}
        # It knows stores with TLS only.
        downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True

    def make(count):
        cache = {"cache_dir": place.fresh()} if place.endpoint else {}
        held = StreamingDataset(place.of("litdata"), shuffle=True, drop_last=True, seed=1, **more, **cache)
        kept = {"persistent_workers": True, "multiprocessing_context": "fork"} if count else {}
        read = StreamingDataLoader(held, batch_size=BATCH, num_workers=count, drop_last=True, **kept)
        return Batches(read, lambda batch: batch["x"])

    return best_of(place, make, workers, seconds)


def mosaicml(place, workers, seconds):
    from streaming import MDSWriter, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    windows = stored(place.folder)
    first = next(windows)
    columns = {"x": f"ndarray:float32:{','.join(map(str, first.shape))}"}
    with MDSWriter(out=str(place.folder / "mds"), columns=columns, size_limit=1 << 26) as writer:
        writer.write({"x": first})
        for window in windows:
            writer.write({"x": window})
    place.put("mds")

    def make(count):
        clean_stale_shared_memory()
        where = {"remote": place.of("mds"), "local": place.fresh()} if place.endpoint else {"local": place.of("mds")}
        held = StreamingDataset(**where, shuffle=True, batch_size=BATCH, shuffle_seed=1)
        return loader(held, count, lambda batch: batch["x"])

    return best_of(place, make, workers, seconds)


def as_zarr(folder):
    """The frames of all trajectories as one array, a chunk each, (N, T, *space, C); and its windows."""
    import zarr

    dataset = wellspring.Dataset(folder / "ds")
    held = dataset.trajectories("train")
    if not (folder / "zarr").exists():
        shape = (len(held), held[0].frames, *dataset.schema.grid.shape, len(dataset.channels))
        array = zarr.create_array(
            str(folder / "zarr"), shape=shape, chunks=(1, 1, *shape[2:]), dtype="float32", compressors=None
        )
        for index in range(len(held)):
            array[index] = np.stack(list(dataset.frames("train", index).values()), axis=-1)
    return [(index, start) for index in range(len(held)) for start in range(held[0].frames - FRAMES + 1)]


class ZarrWindows(torch.utils.data.Dataset):
    def __init__(self, open_array, windows):
        self.open_array, self.windows, self.array = open_array, windows, None

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, index):
        # In a worker process: what was opened before a fork does not work in it.
        self.array = self.open_array() if self.array is None else self.array
        trajectory, start = self.windows[index]
        return self.array[trajectory, start : start + FRAMES]


def zarr_python(place, workers, seconds):
    import zarr

    try:
        import zarrs  # noqa: F401

        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    except ImportError:
        pass
    windows = as_zarr(place.folder)
    place.put("zarr")

    def open_array():
        if not place.endpoint:
            return zarr.open_array(place.of("zarr"), mode="r")
        import obstore

        bucket = obstore.store.S3Store("bench", prefix="zarr", endpoint=place.endpoint, client_options={"allow_http": True})
        return zarr.open_array(zarr.storage.ObjectStore(bucket, read_only=True), mode="r")

    make = lambda count: loader(ZarrWindows(open_array, windows), count, lambda batch: batch, shuffle=True)
    # What reads a bucket in this process does not work in those that are forked from it later.
    choices = [count for count in workers if count or not place.endpoint]
    return best_of(place, make, choices, seconds)


def tensorstore(place, workers, seconds):
    import tensorstore

    windows = as_zarr(place.folder)
    place.put("zarr")
    store = {"driver": "file", "path": place.of("zarr")}
    if place.endpoint:
        store = {"driver": "s3", "bucket": "bench", "path": "zarr/", "endpoint": place.endpoint, "aws_region": "us-east-1"}
        store["aws_credentials"] = {"type": "environment"}

    def batches():
        array = tensorstore.open({"driver": "zarr3", "kvstore": store}, read=True).result()
        order = np.random.permutation(len(windows))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = (windows[index] for index in order[first : first + BATCH])
            read = [array[trajectory, start : start + FRAMES].read() for trajectory, start in chosen]
            yield torch.from_numpy(np.stack([future.result() for future in read]))

    class Reads:
        def __iter__(self):
            return batches()

    # It reads with threads of its own, and no process may be forked with them.
    return best_of(place, lambda _: Reads(), (0,), seconds)


# zarr comes before litdata, whose client of buckets would be in the processes that zarr's windows are read in.
PEERS = {
    "The Well, z-scored": theirs,
    "zarr": zarr_python,
    "litdata": litdata,
    "MosaicML streaming": mosaicml,
    "tensorstore": tensorstore,
}


def measured(place, asked):
    found, threads = ours(place, asked.seconds)
    rows = [{"loader": f"wellspring, {threads} threads", "windows_per_second": found, "wellspring_is_times": 1.0}]
    for name, peer in PEERS.items():
        if place.endpoint and peer is theirs:
            continue
        try:
            rate_of_peer, workers = peer(place, asked.workers, asked.seconds)
        except ImportError as error:
            print(f"{name}: not installed ({error})")
            continue
        rows.append({"loader": f"{name}, {workers} workers", "windows_per_second": rate_of_peer})
    for row in rows:
        row["wellspring_is_times"] = found / row["windows_per_second"]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket", type=lambda path: str(pathlib.Path(path).resolve()), help="the server of a bucket")
    parser.add_argument("--train", type=int, default=8, help="trajectories")
    parser.add_argument("--frames", type=int, default=50, help="frames of each")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in text.split(",")], default=[0, 2, 4])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    folder, server = pathlib.Path(tempfile.mkdtemp(prefix="wellspring-bench-")), None
    try:
        wellspring.simulate(
            "shear-flow", folder / "simulations", shape="128x256", frames=asked.frames, train=asked.train, valid=0, test=0
        )
        wellspring.ingest(folder / "simulations", folder / "ds", shard_mib=64)
        endpoint = None
        if asked.bucket:
            server = subprocess.Popen([asked.bucket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            endpoint = next(
                line.strip().partition("=")[2] for line in server.stdout if line.startswith("export AWS_ENDPOINT=")
            )
        rows = measured(Place(folder, endpoint), asked)
    finally:
        if server:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['loader']:<34}{row['windows_per_second']:>10.0f} windows/s{row['wellspring_is_times']:>8.1f}x")


if __name__ == "__main__":
    main()
