"""Figures about the past: use by the hour, sizing, and the chain of the audit log."""
