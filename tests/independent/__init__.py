"""A verifier that shares nothing with the product but the written formats."""
