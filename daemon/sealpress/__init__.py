"""sealpress: a signing daemon where signing is being in the log."""

__version__ = "0.1.0"
