"""Every choice a user can make: the Hydra root, and its types."""
