"""Times the named views of `wellspring sql` beside DuckDB, on the same Parquet files.

    bench_sql.py make FOLDER            writes 2,000 evaluations of 10,100 rows of metrics, unless they are there
    bench_sql.py time FOLDER PROGRAM    one line a view: seconds of both, and their ratio

Needs duckdb, numpy and pyarrow. Every column of a view is asked for, in sums and maxima, and the answers
must agree. `query` is the best of several within one session; `whole` is a fresh session with its one
query: the process of `wellspring`, and for DuckDB a connection, which finds and opens the files anew.
"""

import argparse
import json
import pathlib
import re
import subprocess
import time

import duckdb
import numpy
import pyarrow
from pyarrow import parquet

THREADS = 2
FIELDS = ["tracer", "pressure", "velocity_x", "velocity_y"]
TRAJECTORIES, LEADS, GRID, SHELLS = 5, 21, (64, 64), 7
SPATIAL = ["mse", "mae", "rmse", "nmse", "nmae", "nrmse", "vmse", "vrmse", "linf", "pearson", "nonfinite"]
METRICS = [(name, None) for name in SPATIAL]
METRICS += [(name, band) for band in range(3) for name in ("band_mse", "band_nmse", "band_nmse_eq16")]
METRICS += [(f"artefact_{patch}", None) for patch in (4, 8, 16, 32)]
DATASETS = ["shear_flow", "active_matter", "rayleigh_benard", "turbulent_radiative_layer_2D"]
SCHEDULES = ["4", "8", "16", "32", "4,8,16", "random:7"]
# Of two evaluations of each data set and schedule: all pairs of 2,000 would be a million.
ASKED = {"compare": "name = 'model-003' AND other = 'model-007'"}
TOKENS = dict(zip(SCHEDULES, [256, 64, 16, 4, 112, 112]))


def runs(count):
    """A persistence for each data set, then models over data sets and schedules."""
    for i in range(count):
        model, (data, schedule) = i // 24, (i // 6 % 4, SCHEDULES[i % 6])
        baseline = i < len(DATASETS)
        if baseline:
            data, schedule = i, "-"
        yield {
            "run": f"{i:032x}",
            "table_version": 1,
            "name": "persistence" if baseline else f"model-{model:03}",
            "strategy": "baseline" if baseline else ("ckm", "csm", "fixed")[model % 3],
            "parameters": 0 if baseline else (6_600_000, 26_200_000, 104_600_000)[model % 3],
            "dim": 192,
            "blocks": 12,
            "train_steps": 20_000,
            "train_dataset": f"{data:016x}",
            "dataset": DATASETS[data],
            "dataset_id": f"{data:016x}",
            "split": "test",
            "schedule": schedule,
            "context": 6,
            "rollout": LEADS,
            "trajectories": TRAJECTORIES,
            "starts": TRAJECTORIES,
            "tokens": float(TOKENS.get(schedule, 0)),
            "seconds_per_frame": 0.01 + 1e-4 * (i % 97),
            "version": "0.1.0",
            "created": 1_760_000_000_000 + 1000 * i,
        }


RUNS = pyarrow.schema(
    [(name, pyarrow.string()) for name in ("run",)]
    + [("table_version", pyarrow.uint32()), ("name", pyarrow.string()), ("strategy", pyarrow.string())]
    + [(name, pyarrow.uint64()) for name in ("parameters", "dim", "blocks", "train_steps")]
    + [(name, pyarrow.string()) for name in ("train_dataset", "dataset", "dataset_id", "split", "schedule")]
    + [(name, pyarrow.uint64()) for name in ("context", "rollout", "trajectories", "starts")]
    + [("tokens", pyarrow.float64()), ("seconds_per_frame", pyarrow.float64()), ("version", pyarrow.string())]
    + [("created", pyarrow.timestamp("ms", "UTC"))]
)


def patches(run):
    """The patch size at each lead."""
    sizes = run["schedule"].split(",") if "," in run["schedule"] else ["4", "8", "16"]
    if run["schedule"].isdigit() or run["schedule"] == "-":
        sizes = [run["schedule"]]
    return [sizes[lead % len(sizes)] for lead in range(LEADS)]


def numbers(*axes):
    """Row-major index columns of a grid of rows."""
    grids = numpy.meshgrid(*(numpy.arange(n) for n in axes), indexing="ij")
    return [grid.ravel() for grid in grids]


def words(values, index):
    return pyarrow.DictionaryArray.from_arrays(index, pyarrow.array(values)).cast(pyarrow.string())


def metrics(run, random):
    every_lead = rows(run, METRICS, *numbers(LEADS, TRAJECTORIES, len(FIELDS), len(METRICS)), random)
    lead, *others = numbers(1, TRAJECTORIES, len(FIELDS), 1)
    return pyarrow.concat_tables([every_lead, rows(run, [("divergence_lead", None)], lead + LEADS - 1, *others, random)])


def rows(run, names, lead, trajectory, field, metric, random):
    """Rows of these metrics, where what is given besides is an index for each row."""
    level = 0.05 * (1 + 0.1 * field) * 1.12 ** lead * numpy.exp(0.3 * random.standard_normal(lead.size))
    constant = {"nonfinite": 0.0, "divergence_lead": LEADS / 2}
    fixed = numpy.array([constant.get(name, numpy.nan) for name, _ in names])[metric]
    bands = numpy.array([-1 if band is None else band for _, band in names])[metric]
    patch, tokens = patches(run), [TOKENS.get(size, 0) for size in patches(run)]
    return pyarrow.table({
        "run": pyarrow.array([run["run"]] * lead.size),
        "trajectory": pyarrow.array(trajectory, pyarrow.uint32()),
        "start": pyarrow.array(numpy.zeros_like(lead), pyarrow.uint32()),
        "lead": pyarrow.array(lead + 1, pyarrow.uint32()),
        "patch": words(patch, lead),
        "tokens": pyarrow.array(numpy.array(tokens)[lead], pyarrow.uint64()),
        "field": words(FIELDS, field),
        "metric": words([name for name, _ in names], metric),
        "band": pyarrow.array(bands, pyarrow.int64(), mask=bands < 0).cast(pyarrow.uint32()),
        "value": pyarrow.array(numpy.where(numpy.isnan(fixed), level, fixed)),
    })


def spectra(run, random):
    axes = [("x", GRID[0] // 2 + 1), ("y", GRID[1] // 2 + 1), ("isotropic", SHELLS)]
    bins = numpy.concatenate([numpy.arange(n) for _, n in axes])
    axis = numpy.repeat(numpy.arange(len(axes)), [n for _, n in axes])
    lead, field, line = numbers(LEADS, len(FIELDS), bins.size)
    bins, axis = bins[line], axis[line]
    truth = (1.0 + bins) ** -3 * numpy.exp(0.1 * random.standard_normal(bins.size))
    error = 0.01 * 1.12 ** lead * numpy.exp(0.3 * random.standard_normal(bins.size))
    wave = 2 * numpy.pi / GRID[0]
    return pyarrow.table({
        "run": pyarrow.array([run["run"]] * bins.size),
        "lead": pyarrow.array(lead + 1, pyarrow.uint32()),
        "patch": words(patches(run), lead),
        "field": words(FIELDS, field),
        "axis": words([name for name, _ in axes], axis),
        "bin": pyarrow.array(bins, pyarrow.uint32()),
        "k_low": pyarrow.array(numpy.maximum(bins - 0.5, 0) * wave),
        "k_high": pyarrow.array((bins + 0.5) * wave),
        "truth": pyarrow.array(truth),
        "prediction": pyarrow.array(truth * (1 - error)),
        "residual": pyarrow.array(truth * error),
    })


def make(folder, count):
    random = numpy.random.default_rng(0)
    tables = {"runs": lambda run: pyarrow.Table.from_pylist([run], RUNS)}
    tables |= {"metrics": lambda run: metrics(run, random), "spectra": lambda run: spectra(run, random)}
    for table in tables:
        (folder / table).mkdir(parents=True, exist_ok=True)
    for run in runs(count):
        # As the program does, the row in `runs` comes last.
        for table in ("spectra", "metrics", "runs"):
            file = folder / table / f"{run['run']}.parquet"
            if not file.exists():
                codec = "none" if table == "runs" else "lz4"
                parquet.write_table(tables[table](run), file, compression=codec)


def views(program):
    """Name and SQL of each that asks of results: after an empty line comes its name alone in a comment."""
    shown = subprocess.run([program, "sql", "--explain-views"], capture_output=True, text=True, check=True)
    lines = shown.stdout.splitlines()
    found = {}
    for i, line in enumerate(lines):
        if re.fullmatch(r"-- \w+", line) and (i == 0 or not lines[i - 1]):
            found[name := line.removeprefix("-- ")] = ""
        else:
            found[name] += line + "\n"
    return {name: sql for name, sql in found.items() if not re.search(r"\btraining\b", sql)}


def connect(folder, texts):
    database = duckdb.connect(config={"threads": THREADS})
    for table in ("runs", "metrics", "spectra"):
        database.execute(f"CREATE VIEW {table} AS SELECT * FROM '{folder}/{table}/*.parquet'")
    for name, sql in texts.items():
        # DuckDB has no bootstrap and no sign_flip: least and largest values stand in for them, which is less work.
        ends = r"{'low': min(\1)\2, 'high': max(\1)\2}"
        sql = re.sub(r"sign_flip\((\w+), trajectory\)", r"max(\1)", sql)
        sql = re.sub(r"bootstrap\(((?:[^()]|\([^()]*\))*), (?:[mv]\.)?trajectory\)( FILTER \(WHERE [^)]*\))?", ends, sql)
        database.execute(f"CREATE VIEW {name} AS {sql}")
    return database


def question(database, view):
    """One row that needs every column of every row."""
    asked = ["count(*) AS n"]
    for name, kind, *_ in database.execute(f"DESCRIBE {view}").fetchall():
        asked.append(f"max({name}) AS {name}" if kind == "VARCHAR" else f"sum({name}) AS {name}")
    return f"SELECT {', '.join(asked)} FROM {view} WHERE {ASKED.get(view, 'true')}"


def ours(program, folder, query, repeat):
    """The answer, the best time within a session, and that of a session with this query alone."""
    call = [program, "sql", "-r", str(folder), "--format", "json", "-f", "-"]
    session = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    session.stdin.write(f"{query};" * (repeat + 1))
    session.stdin.close()
    # The program writes an answer, one line, as soon as it has it; the first bears the opening.
    stamps, answers = [], []
    for line in session.stdout:
        stamps.append(time.perf_counter())
        answers.append(line)
    if session.wait() != 0 or len(answers) != repeat + 1:
        raise SystemExit(f"wellspring sql gave {len(answers)} lines for {repeat + 1} queries: {query}")
    began = time.perf_counter()
    subprocess.run([*call[:-2], query], stdout=subprocess.DEVNULL, check=True)
    whole = time.perf_counter() - began
    return json.loads(answers[-1])[0], min(numpy.diff(stamps)), whole


def theirs(folder, texts, query, repeat):
    began = time.perf_counter()
    database = connect(folder, texts)
    database.execute(query).fetchall()
    whole = time.perf_counter() - began
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        answer = database.execute(query)
        row = answer.fetchall()[0]
        times.append(time.perf_counter() - began)
    return dict(zip([column[0] for column in answer.description], row)), min(times), whole


def agree(view, mine, other):
    for name, value in other.items():
        if name == "p" or name.endswith(("low", "high")) and not name.startswith("k_"):
            continue
        same = mine.get(name) == value
        if isinstance(value, (int, float)) and mine.get(name) is not None:
            same = abs(mine[name] - float(value)) <= 1e-9 * abs(float(value))
        if not same:
            raise SystemExit(f"{view}.{name}: {mine.get(name)} and {value}")


def measure(folder, program, repeat, only):
    texts = views(program)
    database = connect(folder, texts)
    print(f"{'view':<18} {'rows':>9} | {'query':>8} {'DuckDB':>8} {'ratio':>6} | {'whole':>8} {'DuckDB':>8} {'ratio':>6}")
    for view in texts:
        if only and view not in only:
            continue
        query = question(database, view)
        mine, own, own_whole = ours(program, folder, query, repeat)
        other, duck, duck_whole = theirs(folder, texts, query, repeat)
        agree(view, mine, other)
        print(
            f"{view:<18} {other['n']:>9} | {own:>7.3f}s {duck:>7.3f}s {own / duck:>6.2f}"
            f" | {own_whole:>7.3f}s {duck_whole:>7.3f}s {own_whole / duck_whole:>6.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    making = parts.add_parser("make")
    making.add_argument("folder", type=pathlib.Path)
    making.add_argument("--runs", type=int, default=2000)
    timing = parts.add_parser("time")
    timing.add_argument("folder", type=pathlib.Path)
    timing.add_argument("program")
    timing.add_argument("--repeat", type=int, default=3)
    timing.add_argument("--view", action="append", help="only this one; may be given again")
    args = parser.parse_args()
    if args.part == "make":
        make(args.folder, args.runs)
    else:
        measure(args.folder, args.program, args.repeat, args.view)


if __name__ == "__main__":
    main()
