"""Data sets: what they say of themselves, and their frames."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellspring import _native

BOUNDARIES = {"wall": 0, "open": 1, "periodic": 2}
"""The Well's codes of boundary conditions."""


@dataclass(frozen=True)
class Axis:
    """An axis of a grid."""

    name: str
    coordinates: NDArray[np.float64]
    """Of its points, in the simulation's units."""
    boundary: tuple[str, str]
    """wall, open or periodic, at its low and its high end."""


@dataclass(frozen=True)
class Grid:
    """The points at which fields are known."""

    kind: str
    """The Well's grid type, cartesian for most."""
    axes: tuple[Axis, ...]
    """Slowest first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(len(axis.coordinates) for axis in self.axes)


@dataclass(frozen=True)
class Field:
    """A physical field."""

    name: str
    order: str
    """scalar, vector or tensor: The Well's t0, t1 and t2."""
    time_varying: bool
    sample_varying: bool
    transform: str | None = None
    """What its values go through before they are normalized."""


@dataclass(frozen=True)
class Schema:
    """Grid and fields of a data set."""

    name: str
    grid: Grid
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Trajectory:
    """One simulation of a split."""

    source: str
    """The file and the sample that it came from."""
    frames: int
    parameters: Mapping[str, float]
    """Scalars that do not change in time."""
    series: Mapping[str, NDArray[np.float64]]
    """Scalars that change in time, a value for each frame."""


@dataclass(frozen=True)
class WellMetadata:
    """What The Well's formatters and metrics ask of a data set, by the names that they use."""

    dataset_name: str
    n_spatial_dims: int
    spatial_resolution: tuple[int, ...]
    scalar_names: list[str]
    constant_scalar_names: list[str]
    field_names: dict[int, list[str]]
    constant_field_names: dict[int, list[str]]
    boundary_condition_types: list[str]
    n_files: int
    n_trajectories_per_file: list[int]
    n_steps_per_trajectory: list[int]
    grid_type: str = "cartesian"

    @property
    def n_scalars(self) -> int:
        return len(self.scalar_names)

    @property
    def n_constant_scalars(self) -> int:
        return len(self.constant_scalar_names)

    @property
    def n_fields(self) -> int:
        return sum(map(len, self.field_names.values()))

    @property
    def n_constant_fields(self) -> int:
        return sum(map(len, self.constant_field_names.values()))

    @property
    def sample_shapes(self) -> dict[str, list[int]]:
        space = list(self.spatial_resolution)
        return {
            "input_fields": [*space, self.n_fields],
            "output_fields": [*space, self.n_fields],
            "constant_fields": [*space, self.n_constant_fields],
            "input_scalars": [self.n_scalars],
            "output_scalars": [self.n_scalars],
            "constant_scalars": [self.n_constant_scalars],
            "space_grid": [*space, self.n_spatial_dims],
        }


def settings(storage_options: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Settings of buckets, as ``--storage-option`` has them."""
    return [(key, str(value)) for key, value in (storage_options or {}).items()]


def place(path: str | os.PathLike[str]) -> str:
    """A folder or a URL as text."""
    return os.fspath(path)


class Dataset:
    """A data set of wellspring: shards on a disk or in a bucket.

    Opening it reads its manifest and nothing else. Shards on a disk are mapped; fetched ones are kept in memory, up to
    ``memory`` bytes, or in the folder ``cache``, up to ``cache_bytes``. In a spawned process it opens itself again, in a
    forked one too if it is on a disk.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, str] | None = None,
        memory: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int = 1 << 40,
        map: bool = True,
    ) -> None:
        self.root = place(root)
        self._settings = settings(storage_options)
        self._options: tuple[Any, ...] = (memory, None if cache is None else (place(cache), cache_bytes), map)
        self._opened: _native.Dataset | None = None
        self._process = 0
        self._manifest: dict[str, Any] = json.loads(self.native.manifest())

    @property
    def native(self) -> _native.Dataset:
        """The open data set of this process."""
        if self._opened is None or self._process != os.getpid():
            self._opened = _native.Dataset(self.root, self._settings, *self._options)
            self._process = os.getpid()
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.schema.grid.shape))
        splits = ", ".join(f"{len(held)} {name}" for name, held in self.splits.items())
        return f"<wellspring.Dataset {self.root}: {self.name} on {shape}, trajectories {splits}>"

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def id(self) -> str:
        """Identity, which changes when its values do."""
        return self.native.id()

    @property
    def dtype(self) -> str:
        """Type of the stored values: f32 or f16."""
        return str(self._manifest["dtype"])

    @property
    def normalization(self) -> str:
        """How stored values are normalized: zscore, rms or none."""
        return str(self._manifest["normalization"])

    @cached_property
    def schema(self) -> Schema:
        held = self._manifest["schema"]
        axes = (
            Axis(axis["name"], np.array(axis["coordinates"]), (axis["boundary"][0], axis["boundary"][1]))
            for axis in held["grid"]["axes"]
        )
        return Schema(
            held["name"],
            Grid(held["grid"]["kind"], tuple(axes)),
            tuple(Field(**field) for field in held["fields"]),
        )

    @cached_property
    def channels(self) -> list[str]:
        """Names of the channels that vary in time, as The Well flattens fields: ``velocity_x``."""
        return self.native.channels(True)

    @cached_property
    def constant_channels(self) -> list[str]:
        """Names of the channels that do not vary in time."""
        return self.native.channels(False)

    @property
    def statistics(self) -> Mapping[str, Mapping[str, float]]:
        """Statistics of each channel, by which values are normalized."""
        found: dict[str, Mapping[str, float]] = self._manifest["statistics"]
        return found

    @cached_property
    def splits(self) -> Mapping[str, list[Trajectory]]:
        """The trajectories of train, valid and test."""
        return {
            name: [
                Trajectory(
                    held["source"],
                    held["frames"],
                    held["parameters"],
                    {name: np.array(values) for name, values in held.get("series", {}).items()},
                )
                for held in split["trajectories"]
            ]
            for name, split in self._manifest["splits"].items()
        }

    def trajectories(self, split: str) -> list[Trajectory]:
        """The trajectories of a split."""
        if split not in self.splits:
            raise ValueError(f"{self.root} has no split {split}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def frames(
        self,
        split: str,
        trajectory: int,
        start: int = 0,
        stop: int | None = None,
        *,
        normalized: bool = True,
    ) -> dict[str, NDArray[Any]]:
        """Each channel of some frames of a trajectory, (T, *space).

        Normalized values are as they are stored. Where the shard is mapped or in memory they are not copied, and
        cannot be written to; the shard stays in memory as long as they do.
        """
        steps = (start, self._frames(split, trajectory) if stop is None else stop)
        arrays = self.native.frames(split, trajectory, steps, normalized)
        return dict(zip(self.channels, arrays, strict=True))

    def times(
        self, split: str, trajectory: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float64]:
        """Times of some frames of a trajectory, in the simulation's units."""
        return self.native.times(
            split, trajectory, (start, self._frames(split, trajectory) if stop is None else stop)
        )

    def constants(self, split: str, trajectory: int, *, normalized: bool = True) -> dict[str, NDArray[np.float32]]:
        """The channels of a trajectory that do not vary in time, (*space)."""
        held = self.native.constants(split, trajectory, normalized)
        return {} if held is None else dict(zip(self.constant_channels, held[0, 0], strict=True))

    def window_counts(self, split: str, frames: int, stride: int = 1, every: int = 1) -> list[int]:
        """Windows of so many frames that each trajectory has, ``stride`` steps from frame to frame, a start each ``every`` steps."""
        span = (frames - 1) * max(1, stride)
        held = self.trajectories(split)
        return [(one.frames - span - 1) // max(1, every) + 1 if one.frames > span else 0 for one in held]

    def _frames(self, split: str, trajectory: int) -> int:
        held = self.trajectories(split)
        if not 0 <= trajectory < len(held):
            raise IndexError(f"{self.root} has {len(held)} trajectories in {split}, and no {trajectory}")
        return held[trajectory].frames

    @cached_property
    def metadata(self) -> WellMetadata:
        """What The Well's formatters and metrics ask of a data set."""
        grid, held = self.schema.grid, [trajectory for all in self.splits.values() for trajectory in all]
        orders = {"scalar": 0, "vector": 1, "tensor": 2}
        return WellMetadata(
            dataset_name=self.name,
            n_spatial_dims=len(grid.axes),
            spatial_resolution=grid.shape,
            scalar_names=_names(trajectory.series for trajectory in held),
            constant_scalar_names=_names(trajectory.parameters for trajectory in held),
            field_names=self._named_by_order(orders, time_varying=True),
            constant_field_names=self._named_by_order(orders, time_varying=False),
            boundary_condition_types=sorted({end for axis in grid.axes for end in axis.boundary}),
            n_files=len({trajectory.source.partition("#")[0] for trajectory in held}),
            n_trajectories_per_file=[1] * len(held),
            n_steps_per_trajectory=[trajectory.frames for trajectory in held],
            grid_type=grid.kind,
        )

    def _named_by_order(self, orders: Mapping[str, int], *, time_varying: bool) -> dict[int, list[str]]:
        axes = [axis.name for axis in self.schema.grid.axes]
        suffixes = {0: [""], 1: [f"_{i}" for i in axes], 2: [f"_{i}{j}" for i in axes for j in axes]}
        named: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for field in self.schema.fields:
            if field.time_varying == time_varying:
                order = orders[field.order]
                named[order] += [field.name + suffix for suffix in suffixes[order]]
        return named


def _names(held: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({name for mapping in held for name in mapping})


def opened(
    dataset: Dataset | str | os.PathLike[str], storage_options: Mapping[str, str] | None = None, **options: Any
) -> Dataset:
    """A data set that is open already, or one by its place."""
    if isinstance(dataset, Dataset):
        return dataset
    return Dataset(dataset, storage_options=storage_options, **options)
