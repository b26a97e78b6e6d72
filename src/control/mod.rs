//! Varlink sessions: bytes to calls to replies.
