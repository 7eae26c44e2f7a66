"""Evaluations of any model, and wellspring's own models from Python."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellspring import _native
from wellspring.batches import Composer
from wellspring.dataset import Dataset, opened, place, settings
from wellspring.progress import Progress
from wellspring.tensors import converter, like, to_numpy

Patch = int | str | Iterable[int]
"""A patch size: one number for all axes, or one for each."""

Step = Callable[..., Any]
"""Context → next frame: takes a batch like the loader's without outputs, and ``patch`` where there is a schedule."""


@dataclass(frozen=True)
class Record:
    """The row of an evaluation in the table ``runs``."""

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"the table of runs has no column {name}") from None

    def __repr__(self) -> str:
        return f"<wellspring.Record {self.name} {self.schedule} on {self.dataset}: {self.starts} starts>"


class Predictor:
    """A model that wellspring trained: tensors in, tensors out.

    It is a step function for :func:`evaluate`. Values are normalized, as a :class:`Loader` gives them.

    Args:
        run: the folder or URL of a training.
        step: the number of a checkpoint's step, "best" or "newest".
        weights: "average" or "trained"; the average where there is one by default.
        device: "cpu" or "cuda".
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        step: int | str = "newest",
        weights: str | None = None,
        device: str = "cpu",
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self._native = _native.Predictor(place(run), settings(storage_options), str(step), weights, device)

    def on(self, dataset: Dataset | str | os.PathLike[str]) -> Predictor:
        """The model on the states of a data set: other channels of those it knows, or another grid."""
        other = object.__new__(Predictor)
        other._native = self._native.on(opened(dataset).native)
        return other

    @property
    def strategy(self) -> str:
        """Kind of the model, such as ckm or csm."""
        return self._native.strategy

    @property
    def context(self) -> int:
        """Frames that a step sees."""
        return self._native.context

    @property
    def stride(self) -> int:
        """Steps of the data set from one frame to the next."""
        return self._native.stride

    @property
    def n_parameters(self) -> int:
        return self._native.parameters

    @property
    def train_steps(self) -> int:
        return self._native.step

    @property
    def weights(self) -> str:
        """Identity of what it has learned."""
        return self._native.weights

    @cached_property
    def patches(self) -> list[tuple[int, ...]]:
        """Patch sizes that it was trained with, a size for each axis."""
        return [tuple(sizes) for sizes in self._native.patches]

    def config(self) -> str:
        """Its configuration as TOML."""
        return self._native.config()

    def __call__(self, batch: Any, patch: Patch | None = None) -> Any:
        """The frame after a context (B, T, *space, C): (B, *space, C), of the same library.

        ``batch`` is the context, or a batch of the loader, which a model that sees inputs beside frames needs whole.
        Without a patch size the first of its own is used.
        """
        given = _given(batch) if isinstance(batch, Mapping) else None
        fields = batch["input_fields"] if isinstance(batch, Mapping) else batch
        values = to_numpy(fields)
        space = range(2, values.ndim - 1)
        context = np.ascontiguousarray(values.transpose(1, 0, values.ndim - 1, *space))
        next = self._native.predict(context, _patch(self.patches[0] if patch is None else patch), given)
        return like(np.ascontiguousarray(np.moveaxis(next[0], 1, -1)), fields)

    def __repr__(self) -> str:
        return f"<wellspring.Predictor: {self.strategy}, {self.n_parameters} parameters, step {self.train_steps}>"


def _given(batch: Mapping[str, Any]) -> dict[str, NDArray[Any] | None] | None:
    """What a batch has beside its frames, as Rust has it; None where it was read without."""

    def joined(kind: str) -> NDArray[Any] | None:
        parts = [batch[key] for key in (f"input_{kind}", f"output_{kind}") if key in batch]
        return np.concatenate([to_numpy(part) for part in parts], axis=1) if parts else None

    times, scalars = joined("time_grid"), joined("scalars")
    if times is None:
        return None
    constants, fixed = batch.get("constant_fields"), batch.get("constant_scalars")
    if constants is not None:
        constants = np.ascontiguousarray(np.moveaxis(to_numpy(constants), -1, 1)[None])
    return {
        "constants": constants,
        "constant_scalars": None if fixed is None else to_numpy(fixed),
        "scalars": scalars,
        "times": times.astype(np.float64),
    }


def _patch(patch: Patch) -> str:
    """16, or 16x8."""
    if isinstance(patch, int | str):
        return str(patch)
    return "x".join(map(str, patch))


def evaluate(
    step: Step,
    dataset: Dataset | str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    name: str,
    context: int | None = None,
    rollout: int = 1,
    schedule: str | int | Iterable[int] | None = None,
    split: str = "test",
    stride: int | None = None,
    every: int | None = None,
    batch: int = 4,
    keep: int = 1,
    bands: list[float] | None = None,
    temporal: bool = False,
    existing: str = "renew",
    strategy: str | None = None,
    weights: str | None = None,
    normalized: bool = True,
    channels: str = "last",
    tensors: str = "torch",
    storage_options: Mapping[str, str] | None = None,
    progress: bool | None = None,
) -> Record | None:
    """Rolls out any model and commits the same tables as for wellspring's own: errors, spectra and kept frames.

    ``step`` gets a batch as a :class:`Loader` makes it, without ``output_fields``, and gives the next frame,
    (B, *space, C) or (B, 1, *space, C). It is called in this thread, without gradients. An exception in it ends the
    evaluation, which leaves nothing, and comes back as it is. A :class:`Predictor` is rolled out without Python.

    Args:
        context: frames that a step sees; a :class:`Predictor` knows its own.
        rollout: frames to predict from each start.
        schedule: patch sizes of the steps, such as 16 or "4,8,16"; then ``step`` is given ``patch``, a size for each
            axis. Without one, the model has no patches.
        every: steps between two starts of a trajectory; by default the length of a rollout.
        existing: what to do if the results hold an evaluation with this name, data set, split and schedule: "renew" an
            equal one, "replace", "add", "skip" or "refuse".
        strategy: what the tables call this kind of model.
        weights: identity of its weights; by default a checksum of a module's parameters.
        normalized: whether the model sees and gives normalized values, or values in the fields' own units.

    Returns:
        The evaluation's row, or None if it was skipped.
    """
    held = opened(dataset, storage_options)
    own = step if isinstance(step, Predictor) else None
    if own is not None:
        own = own.on(held)
        context, stride = own.context, own.stride
    if context is None:
        raise ValueError("context: say how many frames a step sees")
    if schedule is not None and not isinstance(schedule, str):
        schedule = ",".join(map(str, [schedule] if isinstance(schedule, int) else schedule))
    elif schedule is None and own is not None:
        schedule = _patch(own.patches[0])
    composer = Composer(held, context, channels=channels, convert=converter(tensors, "f32"))
    described = _described(step if own is None else own)
    wish = {
        "name": name,
        "results": place(results),
        "settings": settings(storage_options),
        "schedule": schedule,
        "context": context,
        "stride": stride or 1,
        "split": split,
        "rollout": rollout,
        "every": every,
        "batch": batch,
        "keep": keep,
        "bands": bands,
        "temporal": temporal,
        "existing": existing,
        "strategy": strategy or described.strategy,
        "parameters": described.parameters,
        "weights": weights or described.weights,
        "normalized": normalized,
    }
    shown = Progress(progress)
    try:
        with _without_gradients():
            row = _native.evaluate(
                _arrays(step, composer, channels), shown, held.native, None if own is None else own._native, wish
            )
    finally:
        shown.end()
    return None if row is None else Record(json.loads(row))


def _arrays(
    step: Step, composer: Composer, channels: str
) -> Callable[[NDArray[np.float32], dict[str, NDArray[Any]], list[int] | None], NDArray[np.float32]]:
    """A step function of arrays as Rust has them: (T, B, C, *space) → (1, B, C, *space)."""

    def of_arrays(
        frames: NDArray[np.float32], given: dict[str, NDArray[Any]], patch: list[int] | None
    ) -> NDArray[np.float32]:
        batch = composer.compose(frames, given)
        more = {} if patch is None else {"patch": tuple(patch)}
        next = to_numpy(step(batch, **more))
        _, windows, *rest = frames.shape
        expected = (windows, *(rest if channels == "first" else [*rest[1:], rest[0]]))
        if next.shape == (windows, 1, *expected[1:]):
            next = next[:, 0]
        if next.shape != expected:
            raise ValueError(f"the step gave an array of shape {next.shape}: expected {expected}")
        if channels == "last":
            next = np.moveaxis(next, -1, 1)
        return np.ascontiguousarray(next[None])

    return of_arrays


@dataclass(frozen=True)
class _Described:
    strategy: str
    parameters: int
    weights: str | None


def _described(step: Step) -> _Described:
    """What the tables say of a model: its kind, its number of parameters, and what it has learned."""
    if isinstance(step, Predictor):
        return _Described(step.strategy, step.n_parameters, step.weights)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(step, torch.nn.Module):
        return _Described("function", 0, None)
    module: Any = step
    digest = hashlib.blake2b(digest_size=8)
    for name, values in module.state_dict().items():
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    count = sum(values.numel() for values in module.parameters())
    return _Described(type(module).__name__.lower(), count, digest.hexdigest())


def _without_gradients() -> Any:
    torch = sys.modules.get("torch")
    return contextlib.nullcontext() if torch is None else torch.no_grad()
