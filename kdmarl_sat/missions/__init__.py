"""A constellation's mission, from the teacher to the report."""
