"""What an installation of torch and revgn alone must do; run by `make dist` in a fresh environment, without pytest."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import torch

import revgn

VERSION = importlib.metadata.version("revgn")


def check(what, holds):
    """Say what was checked, and end where it does not hold."""
    print(f"{'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        sys.exit(1)


def main():
    check(f"version {VERSION} of {Path(revgn.__file__).parent}", revgn.__version__ == VERSION)
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 40, dtype=torch.float64).unsqueeze(1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1)).double()
    fit = revgn.fit(model, revgn.losses.MSELoss(), x, torch.sin(x), max_steps=200, progress=False)
    check(f"a fit ends at a loss of {fit.history[-1]['loss']:.1e}", fit.history[-1]["loss"] < 1e-6)
    network = revgn.RevMLP(4, 2, num_blocks=2, hidden_features=200, dtype=torch.float64)
    optimizer = revgn.GaussNewton(network, revgn.losses.CrossEntropyLoss())
    report = optimizer.backward(torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 2)
    check(f"a reversible step is exact, defect {report.defect:.1e}", report.exact)
    command = Path(sys.executable).with_name("revgn")
    for words, told in {("--version",): VERSION, ("bench",): "right_inverses"}.items():
        done = subprocess.run([command, *words], capture_output=True, text=True, check=True)
        check(f"revgn {' '.join(words)}", told in done.stdout)
    done = subprocess.run([command, "train", "digits"], capture_output=True, text=True, check=False)
    advice = "is not installed; pip install 'revgn[experiments]'"
    check(f"revgn train: {done.stderr.strip()}", done.returncode == 1 and advice in done.stderr)


if __name__ == "__main__":
    main()
