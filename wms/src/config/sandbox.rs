//! Sizes and counts of sandbox files and logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sizes and counts of sandbox files and logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Files of a job's input sandbox at most.
    pub input_files_max: usize,
    /// Bytes of a job's input sandbox at most, all files together.
    pub input_bytes_max: u64,
    /// Bytes of one task's output sandbox at most, packed.
    pub output_bytes_max: u64,
    /// Bytes kept of one attempt's stdout, and as much of its stderr.
    pub log_bytes_max: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            input_files_max: 1000,
            input_bytes_max: 256 << 20,
            output_bytes_max: 256 << 20,
            log_bytes_max: 64 << 20,
        }
    }
}

impl SandboxConfig {
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        if self.input_files_max == 0 {
            wrong.push("sandbox.input_files_max must be at least 1".into());
        }
    }
}
