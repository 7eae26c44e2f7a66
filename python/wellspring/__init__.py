"""From physics simulations to answers about surrogate models.

The data sets, loaders, metrics, tables and reports of wellspring for those who train in Python. Data sets are what
``wellspring ingest`` makes of The Well's HDF5: Arrow shards on a disk or in a bucket.

    import wellspring

    wellspring.simulate("shear-flow", "sims")
    dataset = wellspring.ingest("sims", "ds")
    loader = wellspring.Loader(dataset, batch=4, context=6)
    for batch in loader:
        loss = criterion(model(batch["input_fields"]), batch["output_fields"])

    wellspring.evaluate(model_step, dataset, "results", name="mine", context=6, rollout=20)
    print(wellspring.sql("SELECT name, vrmse FROM leaderboard ORDER BY vrmse", results="results"))

Nothing starts a thread when it is imported. A process that was forked after its parent has used the package can read
local data sets, by frames and as a ``WellDataset``; for all else processes must be spawned.
"""

from wellspring import metrics
from wellspring._native import Error, __version__
from wellspring.commands import animate, experiment, figures, ingest, predict, run, simulate, train, verify
from wellspring.dataset import Axis, Dataset, Field, Grid, Schema, Trajectory, WellMetadata
from wellspring.evaluation import Predictor, Record, evaluate
from wellspring.loader import Loader
from wellspring.sql import Answer, Database, report, sql
from wellspring.well import WellDataset

__all__ = [
    "Answer",
    "Axis",
    "Database",
    "Dataset",
    "Error",
    "Field",
    "Grid",
    "Loader",
    "Predictor",
    "Record",
    "Schema",
    "Trajectory",
    "WellDataset",
    "WellMetadata",
    "__version__",
    "animate",
    "evaluate",
    "experiment",
    "figures",
    "ingest",
    "metrics",
    "predict",
    "report",
    "run",
    "simulate",
    "sql",
    "train",
    "verify",
]
