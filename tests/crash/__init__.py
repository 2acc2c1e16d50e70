"""Crashes: a gateway that is killed in the middle of a storm, and what its store says afterwards."""
