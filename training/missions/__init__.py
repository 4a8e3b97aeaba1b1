"""How the teacher and the students of a mission are trained, and how they fly."""
