"""A real Kubernetes for a machine that has none, and the process node that runs pods on it."""
