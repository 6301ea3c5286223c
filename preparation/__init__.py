"""Readers of the raw databases, and the maker of the synthetic sample."""
