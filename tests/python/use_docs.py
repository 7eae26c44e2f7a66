"""The Python of the documentation runs, and so does the notebook."""

import os
import pathlib
import re
import tempfile
import unittest

import nbclient
import nbformat

DOCS = pathlib.Path(__file__).parents[2] / "docs"


class Docs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)

    def test_the_page_runs_in_order(self):
        blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
        self.assertGreater(len(blocks), 5)
        names = {}
        for number, block in enumerate(blocks):
            exec(compile(block, f"block {number} of python.md", "exec"), names)  # noqa: S102
        self.assertEqual(names["next_frame"].shape, (2, 32, 64, 4))
        self.assertEqual(names["error"].shape, (4, 4))
        self.assertTrue(pathlib.Path("report.html").exists())
        self.assertEqual(set(names["curves"]["name"]), {"mine", "persistence"})

    def test_the_notebook_runs(self):
        notebook = nbformat.read(DOCS / "python.ipynb", as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": os.getcwd()}}).execute()
        shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        tables = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
        self.assertTrue(any("persistence" in table for table in tables), shown)


if __name__ == "__main__":
    unittest.main()
