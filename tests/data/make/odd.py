"""Files that each have one odd thing which people's files really have. What must come of them is said in
tests/odd_inputs.rs, where they are laid into folders."""

from dataclasses import replace

import h5py
import numpy as np

from layout import PACKED, Field, Scalar, WellFile, ends, varying, waves

SHAPE = (16, 16)


def sound(seed=0, **changes):
    """A file without anything odd."""
    fields = {
        "pressure": Field(2 + waves(SHAPE, seed=seed)),
        "velocity": Field(waves(SHAPE, seed=seed + 1, channels=(2,)), rank=1),
    }
    return replace(WellFile("flow", SHAPE, fields), **changes)


def of_one_field(name, values, dtype="f4", **changes):
    return WellFile("flow", SHAPE, {name: Field(values, dtype=dtype)}, **changes)


def with_test(out, name, make):
    """The file for a training, and one of other trajectories for a test."""
    make(0).write(out / f"{name}.hdf5")
    make(5).write(out / f"{name}-test.hdf5")


def make(out):
    with_test(out, "sound", sound)
    sound(9).write(out / "sound-valid.hdf5")
    names_and_grids(out)
    broken_simulations(out)
    scales(out)
    beside_the_fields(out)
    other_writers(out)


def names_and_grids(out):
    sound(3, name="another").write(out / "another-name.hdf5")
    for points in (16, 32):
        shape = (points, points)
        with_test(out, f"supernova-{points}", lambda seed: WellFile(
            "supernova_explosion", shape, {"density": Field(2 + waves(shape, 1, 6, seed))}, samples=1))
    far = 60 * np.arange(16, dtype="f4") / 16
    sound(4, coordinates={"x": far, "y": far}).write(out / "box-of-60.hdf5")
    a, b = 3 + waves(SHAPE), -3 - waves(SHAPE, seed=1)
    WellFile("flow", SHAPE, {"A": Field(a), "B": Field(b)}).write(out / "order-ab.hdf5")
    WellFile("flow", SHAPE, {"B": Field(b - 4), "A": Field(a + 4)}).write(out / "order-ba.hdf5")
    with_test(out, "axis-of-66", lambda seed: WellFile(
        "flow", (16, 66), {"pressure": Field(waves((16, 66), 1, 6, seed))}, samples=1,
        conditions=[ends("OPEN", "x", 16), ends("PERIODIC", "y", 66)]))


def broken_simulations(out):
    unwritten(0.0).write(out / "unwritten-chunks.hdf5")
    unwritten(9.969209968386869e36).write(out / "unwritten-chunks-netcdf.hdf5")

    p = 2 + waves(SHAPE, frames=8)
    zero, stuck, spike, late = p.copy(), p.copy(), p.copy(), p.copy()
    zero[1, 5:] = 0
    stuck[1, 4:] = stuck[1, 3]
    late[0, 2, 5, 5] = np.inf
    spike[0, 3, 5, 5] = 1e7
    for name, values in {"zero-tail": zero, "stuck-frames": stuck, "outlier": spike, "infinite": late}.items():
        of_one_field("pressure", values, frames=8).write(out / f"{name}.hdf5")
    other = 2 + waves(SHAPE, frames=8, seed=5)
    of_one_field("pressure", other, frames=8).write(out / "outlier-test.hdf5")

    back = np.array([0, 1, 2, 3, 1, 2], "f4")
    sound(times=back).write(out / "time-back.hdf5")
    holed = np.array([0, 1, 2, np.nan, 4, 5], "f4")
    sound(times=holed).write(out / "time-nan.hdf5")
    with_test(out, "nan-under-mask", under_mask)
    hostile(out)


def hostile(out):
    def elsewhere(file):
        del file["t0_fields/pressure"]
        file["t0_fields/pressure"] = h5py.ExternalLink("other.hdf5", "/pressure")

    def empty_axis(file):
        del file["dimensions/x"]
        file["dimensions/x"] = np.zeros((0, 16), "f4")
        varying(file["dimensions/x"], sample=True, time=False)

    def endless(file):
        file.attrs["n_trajectories"] = 2**40

    same = {"pressure": Field(2 + waves(SHAPE, 1)[0], sample_varying=False)}
    sound(after=elsewhere).write(out / "field-elsewhere.hdf5")
    sound(after=empty_axis).write(out / "empty-axis.hdf5")
    WellFile("flow", SHAPE, same, after=endless).write(out / "endless-trajectories.hdf5")


def unwritten(fill):
    """The last two frames of trajectory 1 were never written."""
    values = 2 + waves(SHAPE)

    def part(file):
        group = file["t0_fields"]
        stored = group.create_dataset("p", values.shape, "f4", chunks=(1, 1, *SHAPE), fillvalue=fill, **PACKED)
        stored[0], stored[1, :4] = values[0], values[1, :4]
        varying(stored, sample=True, time=True)
        stored.attrs["dim_varying"] = [True, True]
        group.attrs["field_names"] = ["p"]

    return WellFile("flow", SHAPE, {}, after=part)


def under_mask(seed):
    p, mask = waves(SHAPE, seed=seed), np.zeros(SHAPE)
    p[..., :4, :4], mask[:4, :4] = np.nan, 1
    fields = {"pressure": Field(p), "mask": Field(mask, sample_varying=False, time_varying=False)}
    return WellFile("flow", SHAPE, fields)


def scales(out):
    units = {"1e-30": 1e-30, "1e-24": 1e-24, "1e0": 1.0, "1e30": 1e30}
    for name, unit in units.items():
        with_test(out, f"units-{name}", lambda seed: of_one_field("density", unit * (3 + waves(SHAPE, seed=seed))))
    with_test(out, "offset", lambda seed: of_one_field("density", 1e8 + 1e-3 * waves(SHAPE, seed=seed), "f8"))
    rng = np.random.default_rng(0)
    speed, density = (np.round(rng.random((2, *SHAPE)) * 8) / 8 for _ in range(2))
    constants = {"speed_of_sound": Field(1 + speed, time_varying=False),
                 "density": Field(1e6 * density, time_varying=False)}
    with_test(out, "constant-fields", lambda seed: sound(
        seed, fields=sound(seed).fields | constants, scalars={"viscosity": Scalar(0.125)}))


def beside_the_fields(out):
    """Fields and their order are those of `sound`."""

    def scales_of_dimensions(file):
        for key in ("time", "x", "y"):
            file["dimensions"][key].make_scale(key)
        for axis, key in enumerate(("time", "x", "y"), 1):
            file["t0_fields/pressure"].dims[axis].attach_scale(file["dimensions"][key])

    def more(file):
        return file.create_group("additional_information")

    def reference(file):
        more(file).attrs["refers_to"] = file["t0_fields"].ref
        file["additional_information/references"] = np.array([file["t0_fields"].ref], h5py.ref_dtype)

    def compound(file):
        group = more(file)
        group["table"] = np.zeros(3, [("step", "i4"), ("word", "S5")])
        group["spectrum"] = np.zeros(3, "c8")
        group.attrs["origin"] = np.array((1.0, 2.0), [("x", "f4"), ("y", "f4")])

    def types(file):
        group = more(file)
        group["blob"] = np.array([np.void(b"\0\1\2\3")])
        group["kind"] = np.dtype("f4")
        opaque = h5py.opaque_dtype(np.dtype("M8[s]"))
        group.attrs["date"] = np.array(["2024-05-06T07:08:09"], "M8[s]").astype(opaque)
        text = h5py.h5t.C_S1.copy()
        text.set_size(6)
        latin = h5py.h5a.create(group.id, b"author", text, h5py.h5s.create(h5py.h5s.SCALAR))
        latin.write(np.array("Jörg".encode("latin-1"), "S6"))

    def twice(file):
        group = more(file)
        group["values"] = np.arange(4.0)
        file["the_same_again"] = group
        group["round"] = file["/"]

    cases = {
        "dimension-scales": scales_of_dimensions,
        "object-reference": reference,
        "compound-and-complex": compound,
        "strange-types": types,
        "dangling-link": lambda file: file.__setitem__("gone", h5py.SoftLink("/nowhere")),
        "external-link": lambda file: file.__setitem__("elsewhere", h5py.ExternalLink("other.hdf5", "/data")),
        "linked-twice": twice,
        "large-extra": lambda file: more(file).create_dataset(
            "metric", (1024, 1024, 32), "f4", chunks=(64, 64, 32), compression="gzip"),
    }
    for name, after in cases.items():
        sound(after=after).write(out / f"{name}.hdf5")


def other_writers(out):
    """Fields are those of `sound`."""
    old = sound()
    for one in old.fields.values():
        one.create = dict(chunks=(1, 2, 8, 8, 2)[: one.values.ndim], compression="gzip")
    old.write(out / "user-block.hdf5", userblock_size=512, libver="earliest")
    reynolds = np.array([1, 2, 3], "f4")
    sound(scalars={"Re": Scalar(reynolds, sample_varying=True)}).write(out / "removed-trajectory.hdf5")
    sound(scalars={"solver": Scalar("dedalus")}).write(out / "text-scalar.hdf5")
    walls = [ends("no-slip", "x", 16), ends("PERIODIC", "y", 16)]
    sound(conditions=walls).write(out / "no-slip.hdf5")
