"""A file in The Well's layout, small enough for git: smooth waves of few digits, shuffled and deflated."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

NOTHING = np.array([], "f8")  # how h5py stores an empty list
PACKED = dict(compression="gzip", compression_opts=9, shuffle=True)


def waves(shape, samples=2, frames=6, seed=0, channels=()):
    """Travelling waves between -1 and 1 in steps of 1/32, of shape (samples, frames, *shape, *channels)."""
    grid = np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij")
    parts = int(np.prod(channels, dtype=int))
    out = np.empty((samples, frames, *shape, parts))
    for sample, frame, part in np.ndindex(samples, frames, parts):
        angle = 0.35 * frame + 0.9 * sample + 1.3 * part + 0.7 * seed
        waves = [np.sin(2 * np.pi * x * (1 + (part + axis) % 2) - (1 + axis) * angle) for axis, x in enumerate(grid)]
        out[sample, frame, ..., part] = np.mean(waves, axis=0)
    return (np.round(out * 32) / 32).reshape(samples, frames, *shape, *channels)


@dataclass
class Field:
    """A field and which of the samples, frames and axes it varies along."""

    values: np.ndarray
    rank: int = 0
    sample_varying: bool = True
    time_varying: bool = True
    dtype: str = "f4"
    create: dict = field(default_factory=lambda: dict(PACKED))


@dataclass
class Condition:
    """A boundary condition: where along its axes the mask is set."""

    kind: str
    dims: tuple
    mask: np.ndarray


def ends(kind, axis, points, low=True, high=True):
    """A condition at the ends of one axis."""
    mask = np.zeros(points, bool)
    mask[0], mask[-1] = low, high
    return Condition(kind, (axis,), mask)


@dataclass
class Scalar:
    """A scalar: one number, or one for each sample, frame, or both."""

    values: object
    sample_varying: bool = False
    time_varying: bool = False


@dataclass
class WellFile:
    name: str
    shape: tuple
    fields: dict
    samples: int = 2
    frames: int = 6
    axes: tuple = ("x", "y", "z")
    grid: str = "cartesian"
    conditions: list = None
    scalars: dict = field(default_factory=dict)
    coordinates: dict = field(default_factory=dict)
    times: np.ndarray = None
    after: object = None  # called with the open file, for what is odd about it

    def write(self, path, **how):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w", **how) as file:
            self._root(file)
            self._dimensions(file.create_group("dimensions"))
            self._conditions(file.create_group("boundary_conditions"))
            self._scalars(file.create_group("scalars"))
            self._fields(file)
            if self.after:
                self.after(file)

    @property
    def dims(self):
        return self.axes[: len(self.shape)]

    def _root(self, file):
        constants = {key: s.values for key, s in self.scalars.items() if np.ndim(s.values) == 0}
        file.attrs["dataset_name"] = self.name
        file.attrs["grid_type"] = self.grid
        file.attrs["n_spatial_dims"] = len(self.shape)
        file.attrs["n_trajectories"] = self.samples
        file.attrs["simulation_parameters"] = list(constants) or NOTHING
        for key, value in constants.items():
            file.attrs[key] = value

    def _dimensions(self, group):
        group.attrs["spatial_dims"] = list(self.dims)
        group["time"] = 0.25 * np.arange(self.frames, dtype="f4") if self.times is None else self.times
        varying(group["time"], sample=group["time"].ndim == 2, time=True)
        for axis, points in zip(self.dims, self.shape):
            group[axis] = self.coordinates.get(axis, np.arange(points, dtype="f4") / points)
            varying(group[axis], sample=False, time=False)

    def _conditions(self, group):
        conditions = self.conditions
        if conditions is None:
            conditions = [ends("PERIODIC", axis, points) for axis, points in zip(self.dims, self.shape)]
        for number, condition in enumerate(conditions):
            name = f"{''.join(condition.dims)}_{condition.kind.lower()}"
            one = group.create_group(name if name not in group else f"{name}_{number}")
            one.attrs["associated_dims"] = list(condition.dims)
            one.attrs["associated_fields"] = NOTHING
            one.attrs["bc_type"] = condition.kind
            varying(one, sample=False, time=False)
            one["mask"] = condition.mask

    def _scalars(self, group):
        group.attrs["field_names"] = list(self.scalars) or NOTHING
        for key, scalar in self.scalars.items():
            group[key] = scalar.values
            varying(group[key], sample=scalar.sample_varying, time=scalar.time_varying)

    def _fields(self, file):
        for rank in range(3):
            group = file.create_group(f"t{rank}_fields")
            held = {key: f for key, f in self.fields.items() if f.rank == rank}
            group.attrs["field_names"] = list(held) or NOTHING
            for key, f in held.items():
                stored = group.create_dataset(key, data=np.asarray(f.values, f.dtype), **f.create)
                varying(stored, sample=f.sample_varying, time=f.time_varying)
                stored.attrs["dim_varying"] = [True] * len(self.shape)


def varying(at, sample, time):
    at.attrs["sample_varying"] = sample
    at.attrs["time_varying"] = time
