"""What tests and benchmarks share: doubles that police their contracts, and ways to build things."""
