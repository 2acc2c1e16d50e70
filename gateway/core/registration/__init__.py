"""The registration check of both sides, without a socket: messages, conversations, and the status of a license."""
