"""The script of `revgn --print-completion bash`, asked by bash itself."""

import shutil
import subprocess

import pytest

from revgn_lab.cli import main

ASK = """
source /dev/stdin
COMP_WORDS=({words}) COMP_CWORD={last}
$(complete -p revgn | sed 's/.*-F \\([^ ]*\\).*/\\1/') revgn "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("revgn stu", ["study"]),
        ("revgn study right-", ["right-inverse"]),
        ("revgn train --re", ["--resume"]),
        ("revgn bench mini", ["mini_batch"]),
    ],
)
def test_bash_completes_commands_options_and_names(words, expected, capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    ask = ASK.format(words=words, last=len(words.split()) - 1)
    told = subprocess.run(["bash", "-c", ask], input=script, capture_output=True, text=True, check=True)
    assert told.stdout.split() == expected
