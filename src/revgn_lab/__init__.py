"""The laboratory beside the library: data, runs, studies, claims, reports and the command. Needs `[experiments]`."""
