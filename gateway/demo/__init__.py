"""A day of believable traffic and a month of made-up history, for `tallygate demo`."""
