"""Each part of the product beside what one would use without it, and a load generator for the whole."""
