"""The ``wellspring`` command, which is also ``python -m wellspring``: the same program as the one built by cargo."""

import signal
import sys
from typing import NoReturn

from wellspring import _native


def main() -> NoReturn:
    # The program hears Ctrl-C itself; Python would only note it for later.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _native.main(["wellspring", *sys.argv[1:]])
    raise AssertionError("the program ends the process")


if __name__ == "__main__":
    main()
