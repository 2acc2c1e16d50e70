"""Sockets, time and the dispatch of messages: from bytes to a decision, and from a decision to bytes."""
