"""The claims of the talk, the statistics that decide them, and the verdicts."""
