"""Errors that a command reports in one line."""


class ConfigError(ValueError):
    """A configuration or a command line is not what it should be: misspelt, of the wrong type, or contradictory."""


class RunError(ValueError):
    """A run cannot start or go on as asked: its folder is taken, its checkpoint damaged, its settings changed."""
