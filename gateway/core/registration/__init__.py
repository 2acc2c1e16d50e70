"""The registration check of both sides, without a socket: messages, conversations, and where a license stands."""
