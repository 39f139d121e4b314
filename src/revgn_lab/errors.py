"""Errors that a command reports in one line."""


class ConfigError(ValueError):
    """A configuration or a command line is not what it should be: misspelt, of the wrong type, or contradictory."""


class RunError(ValueError):
    """A run cannot start or go on as asked."""


class FolderError(RunError):
    """It is for what its folder holds: another run, a damaged checkpoint, files of something else."""
