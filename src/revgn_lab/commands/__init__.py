"""The subcommands of `revgn`, a module each: SUMMARY, `add_arguments` to a parser, and `run` to an exit status."""
