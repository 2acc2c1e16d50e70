"""Simulated days of traffic, and a month of simulated history, for `tallygate demo`."""
