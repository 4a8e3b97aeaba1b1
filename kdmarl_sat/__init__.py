"""The program: composes a configuration and runs the method from teacher to report."""
