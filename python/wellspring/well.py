"""A look-alike of The Well's data set, for code that indexes it."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from wellspring.batches import Composer
from wellspring.dataset import Dataset, WellMetadata, opened
from wellspring.tensors import converter


class WellDataset:
    """The windows of a split by number, as ``the_well.data.WellDataset`` has them: same keys, shapes and order.

    It suits ``torch.utils.data.DataLoader`` with any number of workers, forked or spawned. :class:`wellspring.Loader` is
    many times as fast, since it gathers whole batches.

    Args:
        path: a data set of wellspring, or its place.
        well_split_name: train, valid or test.
        n_steps_input, n_steps_output: frames of the input and of the output.
        min_dt_stride: steps from one frame of a window to the next.
        use_normalization: whether values are normalized, as the data set has them stored.
    """

    def __init__(
        self,
        path: Dataset | str | os.PathLike[str],
        well_split_name: str = "train",
        *,
        n_steps_input: int = 1,
        n_steps_output: int = 1,
        min_dt_stride: int = 1,
        use_normalization: bool = False,
        return_grid: bool = True,
        boundary_return_type: str | None = "padding",
        normalize_time_grid: bool = True,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.dataset = opened(path, storage_options)
        self.split = well_split_name
        self.n_steps_input, self.n_steps_output = n_steps_input, n_steps_output
        self.stride = max(1, min_dt_stride)
        self.use_normalization = use_normalization
        self._left_out = set()
        if not return_grid:
            self._left_out |= {"space_grid", "input_time_grid", "output_time_grid"}
        if boundary_return_type is None:
            self._left_out.add("boundary_conditions")
        elif boundary_return_type != "padding":
            raise NotImplementedError(f"boundary_return_type={boundary_return_type!r}: only padding and None are known")
        self._normalize_time_grid = normalize_time_grid
        counts = self.dataset.window_counts(well_split_name, n_steps_input + n_steps_output, self.stride)
        self._ends = list(accumulate(counts))
        self._composer: Composer | None = None

    @property
    def metadata(self) -> WellMetadata:
        return self.dataset.metadata

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_composer": None}

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        trajectory = bisect_right(self._ends, index)
        start = index - (self._ends[trajectory - 1] if trajectory else 0)
        frames, given = self.dataset.native.window(
            self.split,
            trajectory,
            start,
            self.n_steps_input + self.n_steps_output,
            self.stride,
            self.use_normalization,
        )
        batch = self._compose().compose(frames, given)
        return {key: value[0] for key, value in batch.items() if key not in self._left_out}

    def _compose(self) -> Composer:
        if self._composer is None:
            self._composer = Composer(
                self.dataset,
                self.n_steps_input,
                relative_times=self._normalize_time_grid,
                convert=converter("torch", "f32"),
            )
        return self._composer
