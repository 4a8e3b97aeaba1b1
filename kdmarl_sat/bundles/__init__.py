"""What becomes of trained students: bundles that are quantised, signed, exported and flown."""
