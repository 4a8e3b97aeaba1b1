"""What flies: reads a bundle of student networks and decides with them, within a budget and a deadline.

Needs numpy and the standard library only, and imports no other package of this project.
"""
