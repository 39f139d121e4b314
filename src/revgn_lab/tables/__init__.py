"""Tables as people have them: read with all their warts, encoded as numbers, and remembered with a model."""
