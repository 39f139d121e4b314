import subprocess
import sys
import textwrap
import threading
import time

import pytest

from revgn_lab.errors import RunError
from revgn_lab.studies.locks import run_lock, study_lock
from subprocesses import SUBPROCESS


def test_two_studies_in_one_folder_at_once_are_refused(tmp_path):
    with study_lock(tmp_path), pytest.raises(RunError) as raised, study_lock(tmp_path):
        pass
    assert str(raised.value) == (
        f"another study is at work in {tmp_path}; wait for its end, or name another folder with --out"
    )
    with study_lock(tmp_path):
        pass


HOLD = """
    import sys, time
    from pathlib import Path
    from revgn_lab.studies.locks import study_lock
    with study_lock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_lock_ends_with_the_process_that_was_killed(tmp_path):
    words = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, env=SUBPROCESS)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match="another study is at work"), study_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with study_lock(tmp_path):
        pass


def test_a_run_waits_for_the_process_that_is_at_work_on_it(tmp_path):
    order = []

    def wait():
        with run_lock(tmp_path, "one"):
            order.append("second")

    with run_lock(tmp_path, "one"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        with run_lock(tmp_path, "another"):  # is nobody's
            time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
