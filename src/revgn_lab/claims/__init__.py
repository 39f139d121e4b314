"""The claims of the talk and our own, the statistics that decide them, and the verdicts."""
