"""A gateway of a cluster: the log in etcd, read and written; when this node may speak, and when it must not."""
