"""What is told of the past: use by the hour, sizing, and the chain of the audit log."""
