"""Tables as people have them: read with all their warts, and encoded as numbers by a plan."""
