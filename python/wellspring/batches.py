"""Batches as dictionaries with The Well's keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellspring.dataset import BOUNDARIES, Dataset

CHANNELS = ("last", "first")
"""Where the axis of channels stands: The Well has it last, (B, T, *space, C); first is (B, T, C, *space)."""


class Composer:
    """Makes dictionaries of what the loader reads: views, so that no field is copied."""

    def __init__(
        self,
        dataset: Dataset,
        context: int,
        *,
        channels: str = "last",
        relative_times: bool = True,
        convert: Callable[[NDArray[Any]], Any],
    ) -> None:
        if channels not in CHANNELS:
            raise ValueError(f"channels={channels!r}: choose last, as The Well has them, or first")
        self.context = context
        self.convert = convert
        self.relative_times = relative_times
        axes = dataset.schema.grid.axes
        ndim = len(axes)
        space = range(3, 3 + ndim)
        # Rust has (T, B, C, *space).
        self.order = (1, 0, *space, 2) if channels == "last" else (1, 0, 2, *space)
        self.constant_order = (0, *range(2, 2 + ndim), 1) if channels == "last" else tuple(range(2 + ndim))
        codes = [[BOUNDARIES[end] for end in axis.boundary] for axis in axes]
        self.boundaries = np.array(codes, dtype=np.float32)
        grid = np.meshgrid(*(axis.coordinates for axis in axes), indexing="ij")
        self.grid = np.stack(grid, axis=-1).astype(np.float32)
        self._same: dict[int, dict[str, Any]] = {}

    def compose(
        self, frames: NDArray[Any], given: dict[str, NDArray[Any]] | None, windows: list[tuple[int, int]] | None = None
    ) -> dict[str, Any]:
        """A dictionary of frames (T, B, C, *space) and what goes with them; empty entries are left out."""
        fields = frames.transpose(self.order)
        batch = {"input_fields": fields[:, : self.context], "output_fields": fields[:, self.context :]}
        if given is not None:
            batch |= self._given(given)
        if windows is not None:
            batch["windows"] = np.array(windows, dtype=np.int64)
        made = {key: self.convert(value) for key, value in batch.items() if value.size}
        return made if given is None else made | self._same_in_all(fields.shape[0])

    def _same_in_all(self, windows: int) -> dict[str, Any]:
        """What does not differ between batches; they share it."""
        if windows not in self._same:
            of_one = {"boundary_conditions": self.boundaries, "space_grid": self.grid}
            self._same[windows] = {
                key: self.convert(np.repeat(value[None], windows, axis=0)) for key, value in of_one.items()
            }
        return self._same[windows]

    def _given(self, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        batch: dict[str, NDArray[Any]] = {}
        if (constants := given.get("constants")) is not None:
            batch["constant_fields"] = constants[0].transpose(self.constant_order)
        if (scalars := given.get("constant_scalars")) is not None:
            batch["constant_scalars"] = scalars
        if (scalars := given.get("scalars")) is not None:
            batch["input_scalars"] = scalars[:, : self.context]
            batch["output_scalars"] = scalars[:, self.context :]
        times = given["times"]
        if self.relative_times:
            times = times - times[:, :1]
        times = times.astype(np.float32)
        batch["input_time_grid"] = times[:, : self.context]
        batch["output_time_grid"] = times[:, self.context :]
        return batch
