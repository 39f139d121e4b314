"""What a result was computed with."""

import os
import platform
from datetime import datetime, timezone
from pathlib import Path

import torch

import revgn

_CPU_INFO = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty or vague there


def environment() -> dict[str, str]:
    """Versions, hardware and date, by name."""
    gpu = {"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "revgn": revgn.__version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used",
        **gpu,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _cpu_model() -> str:
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
