import subprocess
import sys
import textwrap

import pytest

from revgn_lab.errors import RunError
from revgn_lab.studies.locks import run_lock, study_lock
from subprocesses import SUBPROCESS

HOLD = """
    import sys, time
    from pathlib import Path
    from revgn_lab.studies.locks import run_lock, study_lock
    with study_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_second_study_in_a_folder_is_refused_until_the_first_has_ended_or_was_killed(tmp_path):
    words = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, env=SUBPROCESS)
    assert holder.stdout.readline() == b"held\n"
    message = f"another study is at work in {tmp_path}; wait for its end, or name another folder with --out"
    with pytest.raises(RunError, match=message), study_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(2):
        with study_lock(tmp_path):
            pass


def test_runs_have_locks_of_their_own(tmp_path):
    with run_lock(tmp_path, "one"), run_lock(tmp_path, "another").acquire(timeout=1):
        pass
