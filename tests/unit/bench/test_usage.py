"""Does what a process took of the machine count whole?"""

from __future__ import annotations

import subprocess
import sys

from bench.usage import cpu_s

BURN_S = 0.1
PROGRAM = f"""
import sys, threading, time
def burn():
    while time.thread_time() < {BURN_S}:
        pass
thread = threading.Thread(target=burn)
thread.start()
thread.join()
print("ended", flush=True)
sys.stdin.read()
"""


def test_what_a_thread_took_counts_when_it_has_ended() -> None:
    """gRPC's threads come and go; what they took of a request's processor time is no less for it."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"

        assert cpu_s(process.pid) >= BURN_S
