"""Batches for training."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from wellspring import _native
from wellspring.batches import Composer
from wellspring.dataset import Dataset, opened
from wellspring.tensors import converter, dtype_name

STATE_VERSION = 1


class Loader:
    """Batches of windows of a split, shuffled, as dictionaries with The Well's keys.

    One pass over it is an epoch, and the next pass the next epoch, in another order. Threads in Rust read ahead and
    gather whole batches, so there are no worker processes; in a ``torch.utils.data.DataLoader`` give it as the data set
    with ``batch_size=None``. The memory of a batch is used again when nothing refers to it any longer.

    - ``input_fields`` (B, context, *space, C) and ``output_fields`` (B, target, *space, C), both views of one batch;
    - ``constant_fields``, ``constant_scalars``, ``input_scalars``, ``output_scalars``, where the data have them;
    - ``boundary_conditions``, ``space_grid``, ``input_time_grid`` and ``output_time_grid``: The Well's;
    - ``windows`` (B, 2): the trajectory and the first step of each.

    The order is a function of the data set, ``seed`` and the epoch alone, whatever ``world`` is: rank r of w takes the
    windows r, r + w, ... of it. Ranks are those of ``torch.distributed`` unless they are given. Several ranks have
    equally many batches: windows that do not make whole batches for all are left out.

    ``state_dict`` says how much of an epoch was given; a loader with that state goes on with the next window, at any
    number of ranks.

    Args:
        dataset: a data set or its place.
        context, target: frames of the input and of the output.
        stride: steps from one frame of a window to the next; ``every``: steps between the starts of windows.
        lanes: shards whose windows are mixed, for data in a bucket; by default all are, which suits a disk.
        cache: a folder for fetched shards, which processes may share.
        dtype: f32, f16 or bf16; values in their own units (``normalized=False``) are f32.
        conditions: whether batches have more than fields.
        channels: "last", as The Well has them, or "first", (B, T, C, *space).
        tensors: "torch", "numpy" or "jax".
        pin_memory: whether tensors are copied to page-locked memory, for a GPU.
    """

    def __init__(
        self,
        dataset: Dataset | str | os.PathLike[str],
        split: str = "train",
        *,
        context: int = 6,
        target: int = 1,
        stride: int = 1,
        every: int = 1,
        batch: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        lanes: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        rank: int | None = None,
        world: int | None = None,
        drop_last: bool = False,
        dtype: Any = "f32",
        normalized: bool = True,
        conditions: bool = True,
        channels: str = "last",
        relative_times: bool = True,
        tensors: str = "torch",
        pin_memory: bool = False,
        prefetch: int = 3,
        threads: int | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        if context < 1 or target < 0 or batch < 1:
            raise ValueError("context and batch must be at least 1, and target at least 0")
        self.dataset = opened(dataset, storage_options, cache=cache)
        self.rank, self.world = _share(rank, world)
        self.batch, self.seed, self.shuffle = batch, seed, shuffle
        self.drop_last = drop_last or self.world > 1
        self.pin_memory = pin_memory
        self.epoch = 0
        self._seen = 0
        self._resumes_at = 0
        dtype = dtype_name(dtype)
        convert = converter(tensors, dtype)
        self._composer = Composer(
            self.dataset, context, channels=channels, relative_times=relative_times, convert=convert
        )
        self._wish = {
            "split": split,
            "frames": context + target,
            "stride": stride,
            "every": every,
            "batch": batch,
            "lanes": lanes,
            "rank": self.rank,
            "world": self.world,
            "prefetch": prefetch,
            "threads": threads or min(4, os.cpu_count() or 1),
            "conditions": conditions,
            "dtype": dtype,
            "normalized": normalized,
        }
        self.windows = sum(self.dataset.window_counts(split, context + target, stride, every))
        if self.windows == 0:
            raise ValueError(f"no trajectory of {split} has the {context + target} frames of a window")
        if len(self) == 0:
            raise ValueError(
                f"{self.windows} windows of {split} make no batch of {batch} for each of {self.world} ranks; "
                "take a smaller batch"
            )
        if tensors == "torch":
            _be_iterable_dataset()

    def __len__(self) -> int:
        """Batches of an epoch, for this rank."""
        of_all = self.batch * self.world
        return self.windows // of_all if self.drop_last else -(-self.windows // of_all)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches of an epoch, or of what is left of it after ``load_state_dict``."""
        seen, self._resumes_at = self._resumes_at, 0
        self._seen = seen
        order = (self.seed, self.epoch) if self.shuffle else None
        reading = _native.Pass(self.dataset.native, self._wish | {"shuffle": order, "seen": seen})
        while not (self.drop_last and self.windows - self._seen < self.batch * self.world):
            found = reading.next()
            if found is None:
                break
            frames, windows, given = found
            self._seen = min(self.windows, self._seen + self.batch * self.world)
            batch = self._made(self._composer.compose(frames, given, windows))
            # Whoever iterates decides how long its memory is used.
            del found, frames, given
            yield batch
            del batch
        self.epoch += 1
        self._seen = 0

    def _made(self, batch: dict[str, Any]) -> dict[str, Any]:
        if not self.pin_memory:
            return batch
        return {key: value.pin_memory() for key, value in batch.items()}

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next pass."""
        self.epoch, self._seen, self._resumes_at = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """What was given so far, over all ranks: enough to go on at any number of ranks."""
        return {
            "version": STATE_VERSION,
            "dataset": self.dataset.id,
            "seed": self.seed,
            "epoch": self.epoch,
            "seen": self._resumes_at or self._seen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on after what was given; the data set must have the same values."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"a loader's state of version {state.get('version')}: this one reads {STATE_VERSION}")
        if state["dataset"] != self.dataset.id:
            raise ValueError(
                f"the state is of another data set than {self.dataset.root}: {state['dataset']}, not {self.dataset.id}"
            )
        self.seed, self.epoch = int(state["seed"]), int(state["epoch"])
        self._seen = self._resumes_at = int(state["seen"])


def _share(rank: int | None, world: int | None) -> tuple[int, int]:
    """Rank and number of ranks: those given, or those of torch.distributed where it is used."""
    if (rank is None) != (world is None):
        raise ValueError("give both rank and world, or none of them")
    if rank is not None and world is not None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank}: choose one of 0 to {world - 1}")
        return rank, world
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _be_iterable_dataset() -> None:
    """Lets PyTorch's DataLoader see a Loader for what it is."""
    data = importlib.import_module("torch.utils.data")
    data.IterableDataset.register(Loader)
