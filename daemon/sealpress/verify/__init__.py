"""Offline verification of proofs and signatures; imports neither grpc nor anything above `core`."""
