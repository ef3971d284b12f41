"""The only way to the keys: the signer's guard, its workers, and the link that `serve` holds to it."""
