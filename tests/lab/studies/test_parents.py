import subprocess
import sys
import textwrap
import time
from pathlib import Path

from subprocesses import SUBPROCESS

CHILD = """
    import sys, time
    from revgn_lab.studies.parents import end_with_parent
    end_with_parent(int(sys.argv[1]))
    time.sleep(60)
"""
PARENT = """
    import os, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
    print(child.pid, flush=True)
    time.sleep(60)
"""


def is_alive(pid):
    try:
        # A dead process that nobody has waited for is still known by its number.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_ends_with_its_parent_that_was_killed():
    words = [sys.executable, "-c", textwrap.dedent(PARENT), textwrap.dedent(CHILD)]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, env=SUBPROCESS)
    child = int(parent.stdout.readline())
    time.sleep(1.0)  # for its start
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_a_process_whose_parent_had_ended_before_ends_too():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), "1000000000"], env=SUBPROCESS, timeout=30)
    assert done.returncode == 1
