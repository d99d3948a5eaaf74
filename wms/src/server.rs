//! All of it put together.
