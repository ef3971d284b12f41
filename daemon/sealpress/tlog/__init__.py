"""The append-only Merkle log of one directory: entries, appending, recovery, checking, explaining."""
