//! The REST API and the pilots' protocol.
