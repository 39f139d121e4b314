import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from revgn import __version__
from revgn_lab.cli import main
from revgn_lab.runs import folders
from revgn_lab.runs.training.training_module import TrainingModule
from subprocesses import SUBPROCESS

COMMAND = [sys.executable, "-W", "ignore", "-m", "revgn_lab.cli"]


@pytest.fixture
def settings(tiny, tmp_path, monkeypatch):
    """The path of a small configuration, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny().as_dict()))
    return "tiny.yaml"


def error_of(capfd, *words):
    """Exit status and message of a command that fails, after checks of its form."""
    status = main(words)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("revgn: error: ")
    assert captured.err.count("\n") == 1
    return status, captured.err


def test_help_answers_without_importing_what_takes_long():
    code = (
        "import sys\nfrom revgn_lab.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nprint(*sorted(sys.modules))"
    )
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=SUBPROCESS).stdout
    assert "revgn train digits --optimizer.lr 0.5" in said
    loaded = {name.partition(".")[0] for name in said.splitlines()[-1].split()}
    assert not loaded & {"torch", "lightning", "jsonargparse", "pandas", "numpy", "jinja2", "matplotlib", "yaml"}


@pytest.mark.parametrize(
    "words", [["--help"], *([name, "--help"] for name in ("demo", "train", "study", "report", "bench"))]
)
def test_every_help_has_an_example(capsys, words):
    with pytest.raises(SystemExit, match="0"):
        main(words)
    assert re.search(r"examples:\n  revgn \w+", capsys.readouterr().out)


def test_help_of_a_configuration_lists_its_settings(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "digits", "--help"])
    said = capsys.readouterr().out
    assert re.search(r"--model.hidden_features HIDDEN_FEATURES[^-]*default:\s+2000\)", said)  # its own, not the class's
    assert "--optimizer.block_weights" in said


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"revgn {__version__}\n"


def test_train_says_in_a_line_what_came_out_and_where_it_is(capsys, settings):
    assert main(["train", settings, "--optimizer.lr", "0.4"]) == 0
    said = capsys.readouterr().out
    line = r"12 steps in [\d.]+ s: training loss .*, test accuracy [\d.]+ %. Everything is in runs/tiny/"
    assert re.match(line, said)
    assert folders.RESULTS in os.listdir("runs/tiny")


WRONG = [  # words, exit status, message
    ("trayn", 2, "unknown command 'trayn'; did you mean 'train'? known: "),
    ("--fast", 2, "see revgn --help"),
    ("train", 2, "no CONFIG; give the path of a YAML file or one of digits"),
    ("train digts", 2, "unknown configuration 'digts'; did you mean 'digits'?"),
    ("train none.yaml", 2, "none.yaml: there is no such configuration file; check the path"),
    ("train tiny.yaml --optimizer.lrr 1", 2, "unknown setting 'optimizer.lrr'; did you mean"),
    ("train tiny.yaml --optimizer Adm", 2, "unknown optimizer 'Adm'; did you mean 'Adam'?"),
    ("train tiny.yaml --epochs 0", 2, "epochs must be at least 1, got 0"),
    ("train tiny.yaml --resume --overwrite", 2, "not allowed with argument"),
    ("train tiny.yaml --data.name_or_path digitz", 1, "unknown dataset 'digitz'; did you mean 'digits'?"),
    ("train tiny.yaml --optimizer.lr 1e6", 1, "lower the learning rate"),
    ("demo --dataset digitz", 2, "unknown dataset 'digitz'; did you mean 'digits'?"),
    ("demo --datset digits", 2, "unrecognized arguments: --datset digits; see revgn demo --help"),
    ("demo --seeds 1 1", 2, "seeds is [1, 1]; expected a list of whole numbers from 0 on, each once"),
    ("study", 2, "no NAME; give the path of a YAML file or one of all, batch-size,"),
    ("study ntkk", 2, "unknown study 'ntkk'; did you mean 'ntk'?"),
    ("study none.yaml", 2, "there is no such file; check the path"),
    ("study ntk --scale smok", 2, "unknown scale 'smok'; did you mean 'smoke'?"),
    ("study ntk --job 2", 2, "unrecognized arguments: --job 2; see revgn study --help"),
    ("study ntk --jobs two", 2, "argument --jobs: invalid int value: 'two'; see revgn study --help"),
    ("report", 2, "no DIR; give the folder of a study or of a run"),
    ("report none", 1, "none is no folder; name one of a study"),
    ("report none --ot x", 2, "unrecognized arguments: --ot x"),
    ("bench scalling", 2, "unknown benchmark 'scalling'; did you mean 'scaling'?"),
    ("bench --pairs 3", 2, "options of a benchmark come after its NAME"),
]


@pytest.mark.parametrize(("words", "status", "message"), WRONG, ids=lambda words: str(words)[:30])
def test_wrong_usage_is_one_line_and_writes_nothing(capfd, settings, words, status, message):
    got, said = error_of(capfd, *words.split())
    assert got == status
    assert message in said
    written = ["runs", "tiny.yaml"] if "1e6" in words else ["tiny.yaml"]  # a run that diverged is a result too
    assert sorted(os.listdir()) == written


def test_a_taken_folder_is_refused_until_told_what_to_do(capfd, settings):
    assert main(["train", settings]) == 0
    capfd.readouterr()
    status, said = error_of(capfd, "train", settings)
    assert (status, "--resume" in said, "--overwrite" in said) == (1, True, True)
    assert main(["train", settings, "--overwrite", "--epochs", "1"]) == 0
    assert main(["train", "runs/tiny", "--resume"]) == 0


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_configuration(settings):
    os.mkdir("digits")
    words = ["train", "digits", "--epochs", "1", "--data.rows", "32", "--model.hidden_features", "40"]
    assert main(words) == 0
    assert os.listdir("digits") == []
    assert folders.RESULTS in os.listdir("runs/digits")


def test_a_folder_that_cannot_be_made_is_one_line(capfd, settings, tmp_path):
    (tmp_path / "file").write_text("")
    status, said = error_of(capfd, "train", settings, "--out", "file/run")
    assert status == 1
    assert "Not a directory" in said
    assert "name another folder with --out" in said


def test_a_missing_extra_is_named(capfd, settings, monkeypatch):
    monkeypatch.delitem(sys.modules, "revgn_lab.settings.parsing", raising=False)
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    status, said = error_of(capfd, "train", settings)
    assert status == 1
    assert "jsonargparse is not installed; pip install 'revgn[experiments]'" in said


def test_an_unexpected_error_keeps_its_traceback(settings, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(TrainingModule, "training_step", broken)
    with pytest.raises(ZeroDivisionError):
        main(["train", settings])


def test_ctrl_c_exits_130_and_says_how_to_go_on(settings):
    words = [*COMMAND, "train", settings, "--epochs", "100000"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=SUBPROCESS)
    deadline = time.monotonic() + 120
    while not os.path.exists("runs/tiny/" + folders.CHECKPOINT):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "revgn: interrupted; to go on: revgn train tiny.yaml --epochs 100000 --resume"


def test_a_reader_who_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "bench"], stdout=writing, stderr=subprocess.PIPE, text=True, env=SUBPROCESS)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    ("error", "said"), [(MemoryError("the kernel would take 9 TB"), "9 TB"), (MemoryError(), "--rows")]
)
def test_full_memory_is_reported_in_one_line(monkeypatch, capsys, error, said):
    def fail(arguments, rest):
        raise error

    monkeypatch.setattr("revgn_lab.commands.train.run", fail)
    assert main(["train", "digits"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("revgn: error: ")
    assert said in told
    assert told.count("\n") == 1
