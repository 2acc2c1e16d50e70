"""One log for several gateways: its entries, the nodes that write them, time, and what every node makes of them.

Pure, as all of the core: who writes and reads the log is the business of `gateway/edge/cluster`. The rule of the
folder: what an entry does is decided in `Replica.apply` alone, so that every node comes to the same state.
"""
