"""Where configurations are: those that come with the package, and a user's own. Light: the help text names them."""

from pathlib import Path

from revgn.naming import unknown_name
from revgn_lab.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """The files of the configurations to train by, by name."""
    return {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}


def shipped_studies() -> dict[str, Path]:
    """The files of the studies, by name."""
    return _yaml_files(CONFIGS / "studies")


def find_config(name_or_path: str) -> Path:
    """The file of a configuration: a path, a run's folder, or the name of one that comes with the package.

    Those that studies are made from have names with a folder in front: base/digits-full-batch.

    Raises:
        ConfigError: there is none.
    """
    path, shipped = Path(name_or_path), shipped_configs()
    named = shipped | {f"base/{name}": file for name, file in _yaml_files(CONFIGS / "base").items()}
    for place in (path, path / "config.yaml", named.get(name_or_path)):
        if place is not None and place.is_file():
            return place
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ConfigError(f"{path}: there is no such configuration file; check the path")
    raise ConfigError(unknown_name("configuration", name_or_path, shipped) + "; or the path of a YAML file")


def _yaml_files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.rglob("*.yaml"), key=lambda path: path.stem)}
