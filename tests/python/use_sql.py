"""SQL and the report from Python, and what other libraries make of an answer."""

import logging
import tempfile
import unittest

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import wellspring
from files import made


class Sql(unittest.TestCase):
    QUERY = "SELECT name, schedule, tokens, vrmse FROM leaderboard ORDER BY vrmse"

    def setUp(self):
        self.results = made() / "results"

    def test_libraries_take_an_answer(self):
        answer = wellspring.sql(self.QUERY, results=self.results)
        table = pa.table(answer)
        self.assertEqual(table.column_names, ["name", "schedule", "tokens", "vrmse"])
        self.assertEqual(table.num_rows, len(answer))
        frame = answer.to_pandas()
        self.assertIsInstance(frame, pd.DataFrame)
        self.assertTrue(frame["vrmse"].is_monotonic_increasing)
        self.assertEqual(pl.DataFrame(answer)["vrmse"].to_list(), frame["vrmse"].to_list())
        self.assertEqual(answer.to_polars().shape, frame.shape)
        counted = duckdb.sql("SELECT count(*) FROM answer").fetchall()
        self.assertEqual(counted, [(len(answer),)])
        self.assertEqual([row["vrmse"] for row in answer.to_dicts()], frame["vrmse"].to_list())
        # An answer may be taken more than once, and by its schema alone.
        self.assertEqual(pa.table(answer), table)
        self.assertEqual(pa.schema(answer), table.schema)

    def test_an_answer_shows_itself(self):
        answer = wellspring.sql(self.QUERY, results=self.results)
        self.assertIn("persistence", str(answer))
        self.assertIn("rows of name, schedule", repr(answer))
        html = answer._repr_html_()
        self.assertIn("<td>persistence</td>", html)
        self.assertEqual(html.count("<tr>"), len(answer) + 1)
        dangerous = wellspring.sql("SELECT '<script>' AS \"<b>\"", results=self.results)
        self.assertNotIn("<script>", dangerous._repr_html_())

    def test_results_data_and_trainings_are_asked_together(self):
        dataset = wellspring.Dataset(made() / "ds")
        database = wellspring.Database(self.results, {"flow": dataset}, [made() / "ckm", made() / "csm"])
        frames = database.sql("SELECT count(*) AS n FROM flow.frames WHERE split = 'train'").to_dicts()
        self.assertEqual(frames, [{"n": 24}])
        steps = database.sql("SELECT run, max(step) AS step FROM training GROUP BY run ORDER BY run").to_dicts()
        self.assertEqual([row["step"] for row in steps], [3, 3])
        self.assertEqual(len(wellspring.sql("SELECT step FROM frames LIMIT 5", data=dataset)), 5)
        empty = database.sql("SELECT name FROM runs WHERE name = 'nobody'")
        self.assertEqual((len(empty), empty.columns), (0, ["name"]))

    def test_what_cannot_be_answered_is_said(self):
        with self.assertRaisesRegex(wellspring.Error, "nothing_of_this"):
            wellspring.sql("SELECT nothing_of_this FROM runs", results=self.results)
        with self.assertRaisesRegex(wellspring.Error, "not supported|DDL|allow"):
            wellspring.sql("DROP TABLE runs", results=self.results)
        with self.assertRaisesRegex(wellspring.Error, "/no/such"):
            wellspring.sql("SELECT 1", results="/no/such")

    def test_the_report_is_the_programs(self):
        with tempfile.TemporaryDirectory() as folder:
            out = wellspring.report(self.results, f"{folder}/report.html", runs=[made() / "ckm"], title="From <Python>")
            with open(out) as file:
                page = file.read()
        self.assertIn("From &lt;Python&gt;", page)
        self.assertIn("<svg", page)

    def test_notes_go_to_logging(self):
        with self.assertLogs("wellspring", logging.WARNING) as logs:
            wellspring.evaluate(
                lambda batch: batch["input_fields"][:, -1], made() / "ds", tempfile.mkdtemp(), name="a", context=1
            )
        self.assertTrue(any("standard deviation" in line for line in logs.output), logs.output)
        with self.assertLogs("wellspring", logging.DEBUG) as logs:
            wellspring.Dataset(made() / "ds").frames("train", 0)
        self.assertTrue(any("shard" in line for line in logs.output), logs.output)


if __name__ == "__main__":
    unittest.main()
