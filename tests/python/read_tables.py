"""DuckDB reads the result tables and answers as `wellspring sql` does."""

import json
import math
import unittest

import duckdb

from files import made, wellspring

QUERIES = [
    "SELECT name, schedule, tokens FROM runs ORDER BY name, schedule",
    "SELECT run, metric, count(*) AS n, avg(value) AS mean FROM metrics GROUP BY run, metric ORDER BY run, metric",
    "SELECT run, axis, lead, sum(residual) AS power FROM spectra GROUP BY run, axis, lead ORDER BY run, axis, lead",
]


class Tables(unittest.TestCase):
    def test_answers_agree(self):
        database = duckdb.connect()
        for table in ("runs", "metrics", "spectra"):
            files = made() / "results" / table / "*.parquet"
            database.execute(f"CREATE VIEW {table} AS SELECT * FROM '{files}'")
        for query in QUERIES:
            with self.subTest(query):
                ours = json.loads(wellspring(made(), "sql -r results --format json", query))
                answer = database.execute(query)
                names = [column[0] for column in answer.description]
                theirs = [dict(zip(names, row)) for row in answer.fetchall()]
                self.assertGreater(len(theirs), 3)
                self.assertEqual(len(ours), len(theirs))
                for mine, other in zip(ours, theirs):
                    for name in names:
                        if isinstance(other[name], float) and not math.isfinite(other[name]):
                            # JSON has no number that is not finite.
                            self.assertIsNone(mine[name])
                        elif isinstance(other[name], float):
                            self.assertAlmostEqual(mine[name], other[name], delta=1e-9 * max(1, abs(other[name])))
                        else:
                            self.assertEqual(mine[name], other[name])


if __name__ == "__main__":
    unittest.main()
