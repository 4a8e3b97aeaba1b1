"""A fast twin of a mission's satellites, for planning and training; Basilisk stays the truth."""
