"""The bytes and words of the wire, without a socket: framing, messages, close codes, handshakes.

Bytes go in, values come out. Nothing here knows a session, a license or a clock.
"""
