"""The pure core: bytes and instants go in; frames, answers, seat changes and the next deadline come out.

Nothing here reads a clock, opens a socket, awaits or logs.
"""
