"""Measurements of the onboard executor against its requirements, part by part."""
