//! Subscriptions that move with the active database.
