"""The configurations that come with the package. Light: the help text names them."""

from pathlib import Path


def shipped_configs() -> dict[str, Path]:
    """Their files, by name."""
    folder = Path(__file__).parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
