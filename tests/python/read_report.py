"""A browser shows the report: without an error, within a narrow screen, with tables that sort."""

import functools
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
import unittest

from files import made, wellspring

WATCH = """<script>
window.troubles = [];
addEventListener("error", (event) => troubles.push(String(event.message ?? event.target.outerHTML)), true);
addEventListener("unhandledrejection", (event) => troubles.push(String(event.reason)));
for (const level of ["error", "warn"]) console[level] = (...words) => troubles.push(words.join(" "));
</script>"""

# Shows the report in a frame of a width, and leaves what it saw in the page.
LOOK = """<!doctype html><link rel="icon" href="data:,"><iframe src="/report.html" style="border:0;height:2000px;width:%dpx"></iframe><script>
const look = (view) => {
  const page = view.document, root = page.documentElement, seen = { troubles: view.troubles };
  const style = view.getComputedStyle(page.body);
  seen.paper = style.backgroundColor;
  seen.ink = style.color;
  seen.width = view.innerWidth;
  seen.overflow = root.scrollWidth - root.clientWidth;
  seen.figures = [...page.querySelectorAll("figure svg")].map((svg) => {
    const outer = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => ({
      says: text.textContent.trim(), box: text.getBoundingClientRect() }));
    const out = (box) => box.left < outer.left - 1 || box.right > outer.right + 1
      || box.top < outer.top - 1 || box.bottom > outer.bottom + 1;
    const clash = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    const pairs = texts.flatMap((a, i) => texts.slice(i + 1).map((b) => [a, b]));
    return {
      name: svg.getAttribute("aria-label"), width: outer.width, height: outer.height, texts: texts.length,
      clipped: texts.filter((text) => out(text.box)).map((text) => text.says),
      clashes: pairs.filter(([a, b]) => clash(a.box, b.box)).map(([a, b]) => a.says + " | " + b.says),
    };
  });
  seen.tables = [...page.querySelectorAll("table")].map((table) => {
    const column = (index) => [...table.tBodies[0].rows].map((row) => row.cells[index].textContent);
    return [...table.querySelectorAll("th")].map((head, index) => {
      const click = () => { head.querySelector("button").click(); return column(index); };
      return { numeric: head.classList.contains("number"), up: click(), down: click(),
        said: head.getAttribute("aria-sort") };
    });
  });
  const links = [...page.querySelectorAll("a")];
  seen.links = links.length;
  seen.dead = links.filter((link) => !page.getElementById(link.hash.slice(1))).map((link) => link.hash);
  const numbers = [...page.querySelectorAll("td.number")].filter((cell) => cell.textContent);
  seen.unlinked = numbers.filter((cell) => !cell.querySelector("a")).length;
  links[0].click();
  seen.open = page.getElementById(links[0].hash.slice(1)).closest("details").open;
  seen.closed = [...page.querySelectorAll("details")].filter((details) => !details.open).length;
  return seen;
};
document.querySelector("iframe").onload = (event) => {
  const note = document.createElement("pre");
  try { note.textContent = JSON.stringify(look(event.target.contentWindow)); }
  catch (error) { note.textContent = JSON.stringify({ broken: String(error.stack) }); }
  event.target.remove();
  document.body.append(note);
};
</script>"""


class Desk(http.server.BaseHTTPRequestHandler):
    """Hands out the report and the pages that look at it."""

    report = ""
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        looked = re.fullmatch(r"/at/(\d+)", self.path)
        if self.path == "/report.html":
            body = self.report.replace("<head>", "<head>" + WATCH, 1)
        elif looked:
            body = LOOK % int(looked[1])
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass


def browse(address: str, dark: bool) -> tuple[str, str]:
    """The page as it is in the end, and what the browser had to say."""
    with tempfile.TemporaryDirectory(prefix="wellspring-browser-") as profile:
        words = [
            os.environ["CHROMIUM"], "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,2200",
            "--enable-logging=stderr", "--virtual-time-budget=20000", f"--user-data-dir={profile}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--dump-dom", address,
        ]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


@functools.cache
def seen(width: int, dark: bool = False) -> dict:
    wellspring(made(), "report results report.html")
    Desk.report = (made() / "report.html").read_text()
    Desk.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page, said = browse(f"http://127.0.0.1:{server.server_port}/at/{width}", dark)
    finally:
        server.shutdown()
        server.server_close()
    note = re.search(r"<pre>(.*)</pre>", page, re.DOTALL)
    if not note:
        raise AssertionError(f"the report was not looked at\n{said}\n{page[:2000]}")
    entities = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
    found = json.loads(re.sub("&(lt|gt|amp);", lambda entity: entities[entity[0]], note[1]))
    found["console"] = [line for line in said.splitlines() if ":CONSOLE" in line]
    found["asked"] = list(Desk.asked)
    return found


def order(text: str) -> tuple[int, float]:
    """Numbers, then what is not a number, then what is empty."""
    if text == "":
        return 2, 0.0
    value = float(text)
    return (1, 0.0) if value != value else (0, value)


def lightness(colour: str) -> float:
    """From 0 for black to 1 for white, of `rgb(r, g, b)`."""
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return 0.2 * red + 0.7 * green + 0.1 * blue


class Narrow(unittest.TestCase):
    width = 420

    def setUp(self):
        self.seen = seen(self.width)
        self.assertNotIn("broken", self.seen)
        self.assertEqual(self.seen["width"], self.width)

    def test_nothing_goes_wrong_and_nothing_else_is_asked_for(self):
        self.assertEqual(self.seen["troubles"], [])
        self.assertEqual(self.seen["console"], [])
        self.assertEqual(self.seen["asked"][1:], ["/report.html"])

    def test_the_page_is_as_wide_as_the_screen(self):
        self.assertLessEqual(self.seen["overflow"], 0)

    def test_every_figure_is_seen_whole(self):
        self.assertGreater(len(self.seen["figures"]), 10)
        for figure in self.seen["figures"]:
            with self.subTest(figure["name"]):
                self.assertGreater(figure["width"], 300)
                self.assertGreater(figure["height"], 100)
                self.assertGreater(figure["texts"], 5)
                self.assertEqual(figure["clipped"], [])
                self.assertEqual(figure["clashes"], [])

    def test_tables_sort(self):
        self.assertEqual(len(self.seen["tables"]), 3)
        for column in (column for table in self.seen["tables"] for column in table):
            self.assertGreater(len(column["up"]), 2)
            self.assertEqual(column["said"], "descending")
            if column["numeric"]:
                self.assertEqual(column["up"], sorted(column["up"], key=order))
                down = [value for value in column["down"] if value]
                self.assertEqual(down, sorted(down, key=order, reverse=True))
            self.assertEqual(sorted(column["up"]), sorted(column["down"]))

    def test_numbers_lead_to_their_sql(self):
        self.assertGreater(self.seen["links"], 50)
        self.assertEqual(self.seen["dead"], [])
        self.assertEqual(self.seen["unlinked"], 0)
        self.assertTrue(self.seen["open"])
        self.assertGreater(self.seen["closed"], 5)


class Wide(Narrow):
    width = 1280


class Dark(unittest.TestCase):
    def test_the_page_takes_the_readers_light_or_dark(self):
        for dark in (False, True):
            found = seen(1280, dark)
            paper, ink = lightness(found["paper"]), lightness(found["ink"])
            self.assertGreater((ink - paper) if dark else (paper - ink), 0.7)


if __name__ == "__main__":
    unittest.main()
