"""Datasets as tar shards: cut into clips, written, indexed, and read again."""
