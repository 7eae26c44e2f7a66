"""Data sets of The Well in miniature: its fields, constants, boundaries, grids and quirks, after its pages and its
metadata. What must come of them is said in tests/the_well.rs."""

import numpy as np

from layout import PACKED, Condition, Field, Scalar, WellFile, ends, waves


def make(out):
    for make_one in (acoustic_scattering, helmholtz_staircase, planetswe, convective_envelope, neutron_star,
                     viscoelastic, rayleigh_taylor, mhd, gray_scott, euler, radiative_layer, gravity_cooling):
        make_one(out)


def fields(shape, seed, t0=(), t1=(), t2=(), samples=2, frames=6):
    n = len(shape)
    ranks = [(0, name, ()) for name in t0] + [(1, name, (n,)) for name in t1] + [(2, name, (n, n)) for name in t2]
    return {name: Field(2 + waves(shape, samples, frames, seed + place, channels), rank)
            for place, (rank, name, channels) in enumerate(ranks)}


def write(out, name, make_one, splits=("train", "test")):
    for seed, split in enumerate(splits):
        make_one(10 * seed).write(out / name / "data" / split / f"{name}.hdf5")


def acoustic_scattering(out):
    """Open and wall on the two sides of one axis; materials that do not vary in time."""
    shape = (16, 16)

    def one(seed):
        rng = np.random.default_rng(seed)
        layers = np.round(rng.random((2, *shape)) * 4) / 4
        constants = {"density": Field(1 + layers, time_varying=False),
                     "speed_of_sound": Field(2 - layers, time_varying=False)}
        conditions = [ends("OPEN", "x", 16, high=False), ends("WALL", "x", 16, low=False), ends("WALL", "y", 16)]
        return WellFile("acoustic_scattering_maze", shape, fields(shape, seed, ["pressure"], ["velocity"]) | constants,
                        conditions=conditions)

    write(out, "acoustic_scattering_maze", one)


def helmholtz_staircase(out):
    """A wall in the middle of the domain, as a mask over both axes; one file a frequency."""
    shape = (16, 16)
    stairs = np.add.outer(np.arange(16), np.arange(16)) < 6

    def one(seed):
        mask = Field(stairs, sample_varying=False, time_varying=False)
        conditions = [ends("OPEN", "x", 16), ends("OPEN", "y", 16, low=False), Condition("WALL", ("x", "y"), stairs)]
        return WellFile("helmholtz_staircase", shape, fields(shape, seed, ["pressure_re", "pressure_im"]) | {"mask": mask},
                        conditions=conditions, scalars={"omega": Scalar(0.06 + seed)})

    write(out, "helmholtz_staircase", one)


def planetswe(out):
    """Latitude and longitude of equal angles."""
    shape = (8, 16)
    angles = {"theta": np.linspace(0.1, 3.0, 8, dtype="f4"), "phi": np.linspace(0, 6.28, 16, endpoint=False, dtype="f4")}

    def one(seed):
        conditions = [ends("OPEN", "theta", 8), ends("PERIODIC", "phi", 16)]
        return WellFile("planetswe", shape, fields(shape, seed, ["height"], ["velocity"]), axes=("theta", "phi"),
                        grid="equiangular", conditions=conditions, coordinates=angles)

    write(out, "planetswe", one)


def sphere(name, radius, shape, grid, seed, held, **more):
    theta, phi = (np.linspace(0.1, top, n, endpoint=False, dtype="f4") for top, n in zip((3.0, 6.3), shape[1:]))
    conditions = [ends("OPEN", radius, shape[0]), ends("OPEN", "theta", shape[1]), ends("PERIODIC", "phi", shape[2])]
    return WellFile(name, shape, held, samples=1, axes=(radius, "theta", "phi"), grid=grid, conditions=conditions,
                    coordinates={radius: np.logspace(1, 3, shape[0], dtype="f4"), "theta": theta, "phi": phi}, **more)


def convective_envelope(out):
    """Shells of a star."""
    shape = (8, 8, 8)

    def one(seed):
        held = fields(shape, seed, ["energy", "density", "pressure"], ["velocity"], samples=1)
        return sphere("convective_envelope_rsg", "r", shape, "spherical", seed, held)

    write(out, "convective_envelope_rsg", one)


def neutron_star(out):
    """Shells at logarithms of the radius, an axis of 66 points, and a group beside the fields that is large."""
    shape = (8, 4, 66)

    def extra(file):
        group = file.create_group("additional_information")
        group.attrs["description"] = "metric of space and time, and what one needs to go back to other units"
        group.create_dataset("spacetime_metric", (512, 512, 4, 4, 8), "f4", chunks=(64, 64, 4, 4, 8), **PACKED)
        group["unit_of_density"] = np.float64(6.2e17)

    def one(seed):
        names = ["density", "internal_energy", "pressure", "temperature", "electron_fraction", "entropy"]
        held = fields(shape, seed, names, ["magnetic_field", "velocity"], samples=1, frames=5)
        return sphere("post_neutron_star_merger", "log_r", shape, "spherical", seed, held, frames=5, after=extra)

    write(out, "post_neutron_star_merger", one)


def viscoelastic(out):
    """Files of 20 and of 60 steps in one split."""
    shape = (16, 16)

    def one(seed, frames):
        held = fields(shape, seed, ["pressure", "c_zz"], ["velocity"], ["C"], samples=1, frames=frames)
        scalars = {key: Scalar(value) for key, value in dict(Re=1e3, Wi=50.0, beta=0.9, epsilon=2e-6, Lmax=70.0).items()}
        return WellFile("viscoelastic_instability", shape, held, samples=1, frames=frames, scalars=scalars,
                        conditions=[ends("PERIODIC", "x", 16), ends("WALL", "y", 16)])

    folder = out / "viscoelastic_instability" / "data"
    one(0, 20).write(folder / "train" / "viscoelastic_instability_EIT.hdf5")
    one(1, 60).write(folder / "train" / "viscoelastic_instability_CAR.hdf5")
    one(2, 20).write(folder / "test" / "viscoelastic_instability_EIT.hdf5")


def rayleigh_taylor(out):
    """Each sample has a time step of its own."""
    shape = (8, 8, 8)

    def one(seed):
        times = np.outer([0.25, 0.5], np.arange(6)).astype("f4")
        conditions = [ends("PERIODIC", "x", 8), ends("PERIODIC", "y", 8), ends("WALL", "z", 8)]
        return WellFile("rayleigh_taylor_instability", shape, fields(shape, seed, ["density"], ["velocity"]), times=times,
                        conditions=conditions, scalars={"At": Scalar(0.75)})

    write(out, "rayleigh_taylor_instability", one)


def mhd(out):
    """A trajectory was taken out: fields are written anew, the scalars keep its number, and space is left over."""
    shape = (8, 8, 4)

    def shorten(file):
        for group in ("t0_fields", "t1_fields"):
            for name in list(file[group]):
                kept = dict(file[group][name].attrs)
                values = np.delete(file[group][name][:], [1], axis=0)
                del file[group][name]
                file[group][name] = values
                file[group][name].attrs.update(kept)
        file.attrs["n_trajectories"] = file.attrs["n_trajectories"] - 1

    def one(seed):
        held = fields(shape, seed, ["density"], ["magnetic_field", "velocity"], samples=3, frames=5)
        scalars = {"Ms": Scalar(np.array([0.5, 0.7, 1.5], "f4"), sample_varying=True), "Ma": Scalar(2.0)}
        return WellFile("MHD_64", shape, held, samples=3, frames=5, scalars=scalars, after=shorten)

    write(out, "MHD_64", one)


def gray_scott(out):
    shape = (16, 16)

    def one(seed):
        return WellFile("gray_scott_reaction_diffusion", shape, fields(shape, seed, ["A", "B"]),
                        scalars={"F": Scalar(0.014), "k": Scalar(0.054)})

    write(out, "gray_scott_reaction_diffusion", one)


def euler(out):
    """The same problem with open and with periodic boundaries: two data sets."""
    shape = (16, 16)
    for name, kind in (("openBC", "OPEN"), ("periodicBC", "PERIODIC")):
        def one(seed):
            held = fields(shape, seed, ["energy", "density", "pressure"], ["momentum"])
            return WellFile(f"euler_multi_quadrants_{name}", shape, held, scalars={"gamma": Scalar(1.4)},
                            conditions=[ends(kind, axis, 16) for axis in "xy"])

        write(out, f"euler_multi_quadrants_{name}", one)


def radiative_layer(out):
    shape = (8, 8, 16)

    def one(seed):
        held = fields(shape, seed, ["density", "pressure"], ["velocity"], samples=1)
        conditions = [ends("PERIODIC", "x", 8), ends("PERIODIC", "y", 8), ends("OPEN", "z", 16)]
        return WellFile("turbulent_radiative_layer_3D", shape, held, samples=1, conditions=conditions,
                        scalars={"tcool": Scalar(0.03)})

    write(out, "turbulent_radiative_layer_3D", one)


def gravity_cooling(out):
    """Boxes of different sizes, by file."""
    shape = (8, 8, 8)

    def one(seed, size):
        held = fields(shape, seed, ["density", "pressure", "temperature"], ["velocity"], samples=1)
        coordinates = {axis: size * np.arange(8, dtype="f4") / 8 for axis in "xyz"}
        return WellFile("turbulence_gravity_cooling", shape, held, samples=1, coordinates=coordinates,
                        conditions=[ends("OPEN", axis, 8) for axis in "xyz"],
                        scalars={"T0": Scalar(10.0), "Z": Scalar(1.0), "rho0": Scalar(0.44)})

    folder = out / "turbulence_gravity_cooling" / "data"
    one(0, 60).write(folder / "train" / "box_of_60.hdf5")
    one(1, 130).write(folder / "train" / "box_of_130.hdf5")
    one(2, 60).write(folder / "test" / "box_of_60.hdf5")
