"""The asynchronous connection-tracking gateway."""
