"""Writes odd.hdf5: a small file in The Well's format, with what netCDF4, xarray and people put beside the fields.

    python odd.py

The field pressure is 100 s + 10 t + x.
"""

import h5py
import numpy as np

SAMPLES, STEPS, POINTS = 2, 3, 8

with h5py.File("odd.hdf5", "w") as file:
    file.attrs["dataset_name"] = "odd"
    file.attrs["grid_type"] = "cartesian"
    file.attrs["n_spatial_dims"] = 1
    # A third trajectory was removed from the fields alone.
    file.attrs["n_trajectories"] = SAMPLES + 1
    file.attrs["author"] = np.bytes_("Jos\u00e9".encode("latin-1"))
    file.attrs["story"] = np.bytes_(b"long " * 200)

    dimensions = file.create_group("dimensions")
    dimensions.attrs["spatial_dims"] = ["x"]
    dimensions["time"] = np.arange(STEPS) * 0.5
    dimensions["x"] = np.arange(SAMPLES + 1)[:, None] * 100.0 + np.arange(POINTS)
    dimensions["x"].attrs["sample_varying"] = np.float32(1)
    dimensions["x"].attrs["time_varying"] = np.int8(0)

    t0 = file.create_group("t0_fields")
    t0.attrs["field_names"] = ["pressure"]
    s, t, x = np.ogrid[:SAMPLES, :STEPS, :POINTS]
    pressure = t0.create_dataset("pressure", data=(100 * s + 10 * t + x).astype("f4"))
    pressure.attrs["dim_varying"] = np.array([1.0])
    pressure.attrs["sample_varying"] = np.int64(1)
    pressure.attrs["time_varying"] = np.uint8(1)
    t0["again"] = pressure

    # Dimension scales, as netCDF4 writes them into every group that has variables.
    t0["step"] = np.arange(STEPS)
    for scale in (dimensions["time"], t0["step"]):
        scale.make_scale(scale.name)
        pressure.dims[1].attach_scale(scale)

    conditions = file.create_group("boundary_conditions")
    inlet = conditions.create_group("x_inlet")
    inlet.attrs["associated_dims"] = ["x"]
    inlet.attrs["bc_type"] = "Inflow"
    inlet["mask"] = np.arange(POINTS) == 0
    outlet = conditions.create_group("x_outlet")
    outlet.attrs["associated_dims"] = ["x"]
    outlet.attrs["bc_type"] = "Open"
    outlet["mask"] = np.arange(POINTS) == POINTS - 1
    conditions["note"] = "what lies here is no condition"
    conditions["gone"] = h5py.SoftLink("/nowhere")

    scalars = file.create_group("scalars")
    scalars.attrs["field_names"] = ["Re", "scheme", "direction"]
    scalars["Re"] = np.array([1.0, 2.0, 3.0], "f4")
    scalars["Re"].attrs["sample_varying"] = True
    scalars["scheme"] = "RK4"
    scalars["direction"] = np.array([0.0, 1.0, 0.0])

    more = file.create_group("more")
    more.attrs["reference"] = t0.ref
    more.attrs["region"] = pressure.regionref[0, 0, 2:4]
    more.attrs.create("dates", np.array(["2020-01-01"], "M8[s]").astype(h5py.opaque_dtype(np.dtype("M8[s]"))))
    more.attrs.create("kinds", 1, dtype=h5py.enum_dtype({"laminar": 0, "turbulent": 1}))
    more.create_dataset("list", (1,), h5py.vlen_dtype(np.int32))[0] = [1, 2]
    more.create_dataset("pair", (3,), np.dtype("(2,)i4"))
    more["half"] = np.array([0.5, 1.5], "f2")
    more["quadruple"] = np.zeros(2, np.longdouble)
    more["table"] = np.zeros(3, dtype=[("a", "f4"), ("b", "S5")])
    more["complex"] = np.zeros(3, "c8")
    more["type"] = np.dtype("f8")
    more["back"] = file["/"]
    more["soft"] = h5py.SoftLink("/dimensions")
    file["elsewhere"] = h5py.ExternalLink("other.hdf5", "/x")
    file["a_second_name"] = file["dimensions"]
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.hdf5", "x", shape=(4,))
    more.create_virtual_dataset("virtual", layout)
    more.create_dataset("external", (4,), "f4", external=[("other.raw", 0, 16)])
