"""A person at a terminal types queries to `wellspring sql`."""

import os
import pty
import select
import signal
import time
import unittest

from files import made

PATIENCE = 60


class Terminal:
    """`wellspring sql` on a terminal of its own."""

    def __init__(self, folder):
        self.process, self.screen = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            environment = os.environ | {"TERM": "xterm", "XDG_STATE_HOME": str(folder / "state")}
            program = os.environ["WELLSPRING"]
            os.execve(program, [program, "sql", "-r", "results"], environment)

    def until(self, wanted):
        """What is written up to and with `wanted`."""
        seen, end = b"", time.monotonic() + PATIENCE
        while wanted.encode() not in seen:
            ready, _, _ = select.select([self.screen], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {wanted!r} in {seen!r}")
            seen += os.read(self.screen, 65536)
        return seen.decode(errors="replace")

    def type(self, keys):
        os.write(self.screen, keys.encode())

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.screen)


class Prompt(unittest.TestCase):
    def setUp(self):
        self.terminal = Terminal(made())
        self.addCleanup(self.terminal.close)
        self.terminal.until("wellspring> ")

    def test_a_query_is_answered_and_timed(self):
        self.terminal.type("SELECT name FROM runs WHERE name = 'persistence';\r")
        answer = self.terminal.until(" s\r\n")
        self.assertIn("\npersistence", answer)
        self.assertRegex(answer, r"\d\.\d{3} s\r\n")

    def test_names_are_completed(self):
        self.terminal.type("SELECT count(*) FROM leaderb\t")
        self.terminal.until("leaderboard")
        self.terminal.type(";\r")
        self.terminal.until("count(*)")

    def test_an_error_is_told_once_and_the_prompt_goes_on(self):
        self.terminal.type("SELECT nothing FROM runs;\r")
        told = self.terminal.until("wellspring> ")
        self.assertEqual(told.count("No field named nothing"), 1, told)
        self.terminal.type("SELECT 6 * 7 AS answer;\r")
        self.terminal.until("42")


if __name__ == "__main__":
    unittest.main()
