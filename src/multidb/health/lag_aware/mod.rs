//! Replication lag, asked of a Redis Enterprise cluster over REST.
