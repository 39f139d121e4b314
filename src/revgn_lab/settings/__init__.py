"""What a run is made of: its settings, typed, and the objects that they name."""
