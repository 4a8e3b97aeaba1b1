"""A fast twin of a mission's satellites, for planning and training; Basilisk remains the reference."""
