"""The operator port: HTTP routes, authorization, the event stream and the files of the page."""
