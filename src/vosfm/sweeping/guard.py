"""Run a command, and end it when whoever asked for it is gone.

Started as a file, in a process group of its own: it imports nothing of ours. Its input is a pipe
that nobody writes to. When the other end is closed, even by a SIGKILL that nobody can catch, the
whole group is killed.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Run the command that the arguments are."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    # The group gets them, and so the command does; this process stays to tell how it ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)


def _watch() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
