"""Runs, the demo and the command. Needs the extra `[experiments]`; import the module that you use."""
