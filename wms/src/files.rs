//! Input sandboxes, outputs and logs on disk.
