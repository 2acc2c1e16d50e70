"""Decisions: who is admitted, what changes, and what everybody is told.

A decision is synchronous and therefore atomic. It reads no clock and sends no byte: instants come in, values go out.
"""
