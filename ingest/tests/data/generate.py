"""Writes h5py.hdf5: The Well's format with everything that it allows, stored in every way.

    python generate.py

A value is (7 a + 5 b + 3 c + 2 d + e + f) / 8 + field, where a, b, ... are its indices in the stored array.
"""

import h5py
import numpy as np

SAMPLES, STEPS, SPACE = 2, 5, (6, 8)
FACTORS = (7, 5, 3, 2, 1, 1)


def values(shape, field):
    total = np.zeros(shape)
    for axis, (n, factor) in enumerate(zip(shape, FACTORS)):
        along = [1] * len(shape)
        along[axis] = n
        total = total + factor * np.arange(n).reshape(along)
    return total / 8 + field


def field(group, name, index, dtype="<f4", sample=True, time=True, dims=(True, True), **storage):
    order = int(group.name[2])
    shape = [SAMPLES] * sample + [STEPS] * time
    shape += [n for n, varies in zip(SPACE, dims) if varies] + [2] * order
    dataset = group.create_dataset(name, data=values(shape, index).astype(dtype), **storage)
    dataset.attrs["dim_varying"] = list(dims)
    dataset.attrs["sample_varying"] = sample
    dataset.attrs["time_varying"] = time
    return dataset


def flags(dataset, sample, time):
    dataset.attrs["sample_varying"] = sample
    dataset.attrs["time_varying"] = time


with h5py.File("h5py.hdf5", "w") as file:
    file.attrs["dataset_name"] = "everything"
    file.attrs["grid_type"] = "log_spherical"
    file.attrs["n_spatial_dims"] = 2
    file.attrs["n_trajectories"] = SAMPLES
    file.attrs["simulation_parameters"] = ["gamma", "seed"]
    file.attrs["gamma"] = 5.0 / 3.0
    file.attrs["seed"] = np.int32(-7)
    file.attrs["fixed"] = np.bytes_("fixed length")
    file.attrs["matrix"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    file.attrs["nothing"] = h5py.Empty("f8")

    t0 = file.create_group("t0_fields")
    t0.attrs["field_names"] = ["lzf", "fletcher", "big", "double", "half", "height", "terrain", "depth", "level"]
    field(t0, "lzf", 0, chunks=(1, 2, 6, 8), compression="lzf", shuffle=True)
    field(t0, "fletcher", 1, chunks=(1, 1, 4, 5), compression=4, shuffle=True, fletcher32=True)
    field(t0, "big", 2, dtype=">f4")
    field(t0, "double", 3, dtype="<f8", chunks=(2, 3, 4, 5))
    field(t0, "half", 4, dtype="<f2")
    field(t0, "height", 5, sample=False, dims=(True, False))
    field(t0, "terrain", 6, sample=False, time=False)
    field(t0, "depth", 7, time=False, dims=(False, True))
    field(t0, "level", 8, dims=(False, False))
    t1 = file.create_group("t1_fields")
    t1.attrs["field_names"] = ["velocity"]
    velocity = field(t1, "velocity", 9, chunks=True, compression=1)
    velocity.attrs["units"] = "m/s"
    t2 = file.create_group("t2_fields")
    t2.attrs["field_names"] = ["D"]
    field(t2, "D", 10, chunks=(1, 5, 6, 8, 1, 2))

    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = ["r", "theta"]
    times = np.arange(STEPS) * 0.5 + 10.0 * np.arange(SAMPLES)[:, None]
    flags(dimensions.create_dataset("time", data=times), True, True)
    flags(dimensions.create_dataset("r", data=np.array([[1, 2, 4, 8, 16, 32], [2, 4, 8, 16, 32, 64]], "f4")), True, False)
    flags(dimensions.create_dataset("theta", data=np.arange(8, dtype="f8") / 8), False, False)

    scalars = file.create_group("scalars")
    scalars.attrs["field_names"] = ["gamma", "seed", "mass", "forcing", "drive"]
    for name, data, sample, time in [
        ("gamma", np.float64(5.0 / 3.0), False, False),
        ("seed", np.int32(-7), False, False),
        ("mass", np.array([1.5, 2.5]), True, False),
        ("forcing", np.arange(STEPS, dtype="f4"), False, True),
        ("drive", np.arange(SAMPLES * STEPS, dtype="f8").reshape(SAMPLES, STEPS), True, True),
    ]:
        flags(scalars.create_dataset(name, data=data), sample, time)

    conditions = file.create_group("boundary_conditions")

    def condition(name, dims, kind, mask, value=None, **varies):
        group = conditions.create_group(name)
        group.attrs["associated_dims"] = dims
        group.attrs["associated_fields"] = ["velocity"] if value is not None else []
        group.attrs["bc_type"] = kind
        flags(group, varies.get("sample", False), varies.get("time", False))
        group.create_dataset("mask", data=np.array(mask, bool))
        if value is not None:
            group.create_dataset("values", data=value)

    condition("core", ["r"], "WALL", [True] + [False] * 5, value=np.array([np.nan, 0.25]))
    outer = np.zeros(SPACE, bool)
    outer[-1, :] = True
    outer[2, 3] = True
    condition("outer", ["r", "theta"], "OPEN", outer)
    condition("around", ["theta"], "periodic", [True] + [False] * 6 + [True])
