"""What a person at a terminal sees: the prompt of `wellspring sql`, and a training that says how it stands."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unittest

from files import SMALL, made

PATIENCE = 60


class Terminal:
    """The program on a terminal of its own, of 80 columns."""

    def __init__(self, folder, *words):
        self.process, self.screen = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            environment = os.environ | {"TERM": "xterm", "XDG_STATE_HOME": str(folder / "state")}
            program = os.environ["WELLSPRING"]
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execve(program, [program, *words], environment)

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
        self.terminal = Terminal(made(), "sql", "-r", "results")
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


class Progress(unittest.TestCase):
    def test_a_training_says_how_it_stands(self):
        words = f"train --out watched {SMALL} --set train.steps=100"
        terminal = Terminal(made(), *words.split())
        self.addCleanup(terminal.close)
        seen = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", terminal.until("next: "))
        # A line of 80 characters ends where the terminal does.
        lines = [row[at : at + 80] for row in re.split(r"[\r\n]+", seen) for at in range(0, len(row), 80)]
        self.assertTrue(any(re.search(r"^  training .* \d+/100 .* left *$", line) for line in lines), lines)
        self.assertTrue(any(re.search(r"^    loss \d\.\d{4}  waits \d+ %  \d+ MiB *$", line) for line in lines), lines)


if __name__ == "__main__":
    unittest.main()
