"""Options of the commands, as the program has them.

They are made from its grammar: ``WELLSPRING_WRITE_DOCS=1 cargo test --release -p wellspring args::python``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypedDict

PathLike = str | os.PathLike[str]

Word = str | int | float | os.PathLike[str]
"""What is typed as it is printed."""


class Options(TypedDict, total=False):
    """Options of every command."""

    retry_for: Word
    """How long to retry requests to a bucket or web server that does not answer."""

    no_mmap: bool
    """Read local shards instead of mapping them into memory. This is slower and counts towards data.memory_mib, but a
    file that is truncated meanwhile gives an error instead of a crash."""


class SimulateOptions(Options, total=False):
    """Options of ``simulate``."""

    shape: Word
    """Grid points along each axis, such as 64x128."""

    frames: int
    """Frames of each trajectory."""

    train: int
    """Number of training trajectories."""

    valid: int
    """Number of validation trajectories."""

    test: int
    """Number of test trajectories."""

    seed: int
    """Random seed; equal seeds give equal files."""

    overwrite: bool
    """Replace the files of an earlier simulation."""


class IngestOptions(Options, total=False):
    """Options of ``ingest``."""

    dtype: Literal["f32", "f16"]
    """Type of the stored values."""

    compression: Literal["none", "lz4", "zstd"]
    """Compression of the shards' buffers; none keeps local shards readable without a copy."""

    transform: Word | Sequence[Word]
    """Transform a field before it is normalized, for fields that span decades: log10 (positive scalars), or asinh:SCALE
    (any values; a line below SCALE, a logarithm above). Models see transformed values; metrics, pictures and SQL have
    the field's own units. May be given several times."""

    normalization: Literal["zscore", "rms", "none"]
    """How values are normalized before they are stored."""

    stats: Word
    """Normalize by a stats.yaml of The Well instead of the statistics of the training split."""

    shard_mib: int
    """Target size of a shard; trajectories that fit are not cut."""

    threads: int
    """Shards to fill at the same time; by default one per core."""

    memory_mib: int
    """Memory for shards that are being filled; if it is short, fewer are filled at the same time."""

    overwrite: bool
    """Replace an existing data set as soon as the new one is complete, or one that another command began."""

    fields: Word | Sequence[Word]
    """Only these fields, such as pressure,velocity."""

    trajectories: Word
    """Only these trajectories of each split; B is excluded."""

    crop: Word
    """Only these cells, as a range for each axis; the ends are excluded."""

    stride: Word
    """Only every Nth cell, along all axes or along each."""

    time_stride: int
    """Only every Nth frame."""

    name: Word
    """Name of the data set, instead of the name in its files, which may then differ."""

    exclude: Word | Sequence[Word]
    """Leave out the files that match a pattern of their name or of their path below SOURCE, with *, ? and **; may be
    given several times."""

    exclude_trajectory: Word | Sequence[Word]
    """Leave out a trajectory: its file, or a pattern of it, and its number in the file; may be given several times."""

    allow: Word | Sequence[Word]
    """Accept findings that are otherwise refused: time, fill, unwritten."""

    nan: Literal["refuse", "zero"]
    """What becomes of values that are NaN or infinite: the source is refused, or they become zero in field units, for
    the statistics too."""

    part: Word
    """Do only one of N equal parts of the work, 0/N to N-1/N."""

    statistics: bool
    """With --part: gather only the part's statistics, which the shards of all parts need."""

    finish: bool
    """Complete the data set when all parts are done."""

    on_demand: bool
    """Make shards only when they are first read, by a training for example. With --stats, no values are read before
    that. The same command without --on-demand makes the remaining shards."""

    append: bool
    """Add trajectories to an existing data set, stored in the same way."""


class VerifyOptions(Options, total=False):
    """Options of ``verify``."""

    repair: Word
    """Make damaged files again from the source of the data set."""


class TrainOptions(Options, total=False):
    """Options of ``train``."""

    set: Word | Sequence[Word]
    """Override a key of the configuration, such as optim.lr=3e-4 or model.strategy=csm; with --resume, of the run's own
    configuration."""

    resume: bool
    """Continue from the run's newest sound checkpoint."""

    estimate: bool
    """Only say what the run would take: weights, memory of a step at each patch size, the largest batch."""

    memory: float
    """With --estimate: memory of the machine in GiB; by default what is free."""

    ranks: int
    """With --estimate: how many processes train it together, which share the optimizer's state and the batch."""

    from_: int
    """With --resume: go back to the checkpoint of this step; later ones are deleted."""


class PredictOptions(Options, total=False):
    """Options of ``predict``."""

    format: Literal["hdf5", "npz"]
    """How the rollouts are stored."""

    rollout: int
    """Frames to predict from each start."""

    schedule: Word
    """Patch sizes by step: 16 | 4,8,16 | 16x8x8 | list:4,4,16 | random:SEED | budget:TOKENS; by default those of the
    model in turn."""

    jitter: int
    """Roll the grid along its periodic axes before each step, by less than a patch, and what is predicted back: the
    seed of the random shifts."""

    split: Word
    """Split whose trajectories are continued."""

    trajectories: Word
    """Only these trajectories of the split; B is excluded."""

    every: int
    """Steps between two starts in a trajectory; by default each has one, its first frame."""

    step: Word
    """The checkpoint: a step, "best" by validation, or "newest", the newest sound one."""

    weights: Word
    """The weights: "average", their moving average where the run has one (optim.ema), or "trained"."""

    context: int
    """Frames of context for a baseline; models know their own."""

    stride: int
    """Steps from one frame to the next for a baseline; models know their own (data.stride)."""

    batch: int
    """Starts that are rolled out together."""

    overwrite: bool
    """Replace the files of earlier predictions."""

    device: Literal["cpu", "cuda"]
    """Where the model runs."""


class ExperimentOptions(Options, total=False):
    """Options of ``experiment``."""

    out: Word
    """The folder for everything: a path or a URL; by default the file's name."""

    part: Word
    """Do only one of N equal parts of the runs, 0/N to N-1/N."""

    set: Word | Sequence[Word]
    """Change a key of the file: settings.train.device=cuda."""

    plan: bool
    """Say what the runs are and what they take, by a few steps of each, and do nothing else."""

    print: bool
    """Print the file."""


class FiguresOptions(Options, total=False):
    """Options of ``figures``."""

    format: Literal["svg", "png"] | Sequence[Literal["svg", "png"]]
    """How each figure is stored: one, or both with a comma between them."""

    dataset: Word | Sequence[Word]
    """Only the data sets with this name; may be given several times."""

    name: Word | Sequence[Word]
    """Only evaluations with this name; may be given several times."""

    field: Word | Sequence[Word]
    """Only this field; if it is given several times, the mean over the fields."""

    each_field: bool
    """Each field in figures of its own."""


class AnimateOptions(Options, total=False):
    """Options of ``animate``."""

    schedule: Word
    """Schedule of the evaluation, if several evaluations have the name."""

    field: Word | Sequence[Word]
    """Only this field; may be given several times."""

    trajectory: Word
    """Trajectory to show; by default the first one that was kept."""

    delay: Word
    """Time to show each frame, in milliseconds."""
