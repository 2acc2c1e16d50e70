"""JSON Web Tokens by which clients prove who they are: what they must say, and the keys that sign them. Pure."""
