"""The SQLite file and everything that is written to it or read from it."""
