"""The composition root: validated configuration in, running process out; the only place that picks concrete classes."""
