"""Satellites in Basilisk and BSK-RL; the only package that imports them."""
