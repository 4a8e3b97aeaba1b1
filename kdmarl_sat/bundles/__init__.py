"""Commands on bundles of trained students: quantise, sign, export, describe, fly and replay."""
