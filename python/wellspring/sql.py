"""SQL over results, data sets and trainings, and the report of results."""

from __future__ import annotations

import html
import importlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

from wellspring import _native
from wellspring.dataset import Dataset, place, settings

Places = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One place or several."""

SHOWN = 200
"""Rows of an answer that a notebook shows."""


class Answer:
    """A table. Whatever knows Arrow takes it without a copy: pyarrow, pandas, polars, DuckDB."""

    def __init__(self, native: _native.Answer) -> None:
        self._native = native

    @property
    def columns(self) -> list[str]:
        return self._native.columns

    def __len__(self) -> int:
        return len(self._native)

    def __str__(self) -> str:
        return self._native.written("table")

    def __repr__(self) -> str:
        return f"<wellspring.Answer: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """The first rows, for a notebook."""
        rows = self.to_dicts()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in self.columns) + "</tr>"
            for row in rows[:SHOWN]
        )
        more = f"<p>{len(rows) - SHOWN} more rows</p>" if len(rows) > SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table by Arrow's C stream interface."""
        return self._native.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """The columns by Arrow's C interface."""
        return self._native.__arrow_c_schema__()

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries; needs no other package."""
        json = importlib.import_module("json")
        rows: list[dict[str, Any]] = json.loads(self._native.written("json"))
        return rows

    def to_arrow(self) -> Any:
        """A table of pyarrow."""
        return importlib.import_module("pyarrow").table(self)

    def to_pandas(self) -> Any:
        """A frame of pandas."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A frame of polars."""
        return importlib.import_module("polars").DataFrame(self)


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return html.escape(text)


class Database:
    """The tables of a results folder, of data sets and of trainings, with the named views.

    Args:
        results: a results folder; its evaluations are the tables ``runs``, ``metrics``, ``spectra`` and ``ensembles``.
        data: a data set, or several by name; their frames are the tables ``NAME.frames``.
        runs: folders of trainings; their logs are the table ``training``.
        memory: bytes that queries may have; half of the machine's by default.
    """

    def __init__(
        self,
        results: str | os.PathLike[str] | None = None,
        data: Dataset | str | os.PathLike[str] | Mapping[str, Dataset | str | os.PathLike[str]] | None = None,
        runs: Places = (),
        *,
        storage_options: Mapping[str, str] | None = None,
        memory: int | None = None,
    ) -> None:
        if data is None:
            named: list[tuple[str | None, str]] = []
        elif isinstance(data, Mapping):
            named = [(name, _root(one)) for name, one in data.items()]
        else:
            named = [(None, _root(data))]
        found = None if results is None else place(results)
        self._native = _native.Database(found, named, _places(runs), settings(storage_options), memory)

    def sql(self, query: str) -> Answer:
        """Answers one query; what would change anything is refused."""
        return Answer(self._native.sql(query))


def sql(
    query: str,
    results: str | os.PathLike[str] | None = None,
    data: Dataset | str | os.PathLike[str] | Mapping[str, Dataset | str | os.PathLike[str]] | None = None,
    runs: Places = (),
    *,
    storage_options: Mapping[str, str] | None = None,
    memory: int | None = None,
) -> Answer:
    """Answers one query about results, data sets or trainings; :class:`Database` keeps them open for more."""
    return Database(results, data, runs, storage_options=storage_options, memory=memory).sql(query)


def report(
    results: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    runs: Places = (),
    title: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> str:
    """Writes figures and tables of results as one HTML file, with the learning curves of trainings in ``runs``."""
    _native.report(place(results), place(out), _places(runs), title, settings(storage_options))
    return place(out)


def _root(dataset: Dataset | str | os.PathLike[str]) -> str:
    return dataset.root if isinstance(dataset, Dataset) else place(dataset)


def _places(places: Places) -> list[str]:
    if isinstance(places, str | os.PathLike):
        return [place(places)]
    return [place(one) for one in places]
