"""Runs a command in a terminal, and types into it: each line once what it waits for has been shown.

Arguments: a JSON list of pairs, what is waited for and the line that is typed then; and the command. What was shown is
written to standard output.
"""

import json
import os
import pty
import select
import sys
import time

pairs, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
shown, until = b"", time.monotonic() + 120
while time.monotonic() < until:
    if select.select([terminal], [], [], 1)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # It has ended, and nobody holds the other side any more.
            piece = b""
        if not piece:
            break
        shown += piece
    if pairs and pairs[0][0].encode() in shown:
        # What was shown before does not count for what comes next.
        sys.stdout.buffer.write(shown)
        shown = b""
        os.write(terminal, pairs.pop(0)[1].encode() + b"\r")
else:
    os.kill(pid, 9)
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if not pairs else 90)
