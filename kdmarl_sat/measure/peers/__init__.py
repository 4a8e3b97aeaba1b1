"""Comparison of the cost of training: our program and other programs."""
