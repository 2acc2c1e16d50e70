"""What is counted: sessions and their facts, license models, pools of distinct keys, use over time, denials.

Use is the number of distinct keys in a pool. It is read from the claims that are held, never counted up and down.
"""
