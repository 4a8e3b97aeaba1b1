"""Measurements of what we claim: speed, cost, safety and evidence."""
