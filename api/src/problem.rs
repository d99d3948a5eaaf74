//! Errors on the wire: RFC 9457 problem documents with stable codes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// The stable code of a problem. Programs decide by it; it never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, in a few words that are the same every time.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problem_codes! {
    /// The request itself is malformed.
    BadRequest = "bad-request", 400, "The request is malformed";
    /// The JDL was read and found wrong; `diagnostics` says where.
    InvalidJdl = "invalid-jdl", 422, "The JDL is not valid";
    /// A site description was read and found wrong.
    InvalidSite = "invalid-site", 422, "The site description is not valid";
    /// A policy was read and found wrong.
    InvalidPolicy = "invalid-policy", 422, "The policy is not valid";
    /// A sandbox file's name leaves its folder, or is there twice.
    InvalidSandbox = "invalid-sandbox", 422, "The sandbox is not valid";
    /// There was no token, or it is unknown, expired or revoked.
    Unauthorized = "unauthorized", 401, "A valid token is needed";
    /// The token is good, but not for this.
    Forbidden = "forbidden", 403, "This token may not do that";
    /// There is no such thing, or none that this token may see.
    NotFound = "not-found", 404, "There is no such thing";
    /// The path exists, but not with this method.
    MethodNotAllowed = "method-not-allowed", 405, "This path has no such method";
    /// The server gave the request up because it took too long.
    Timeout = "timeout", 503, "The request took too long";
    /// The job asks for what the policy does not have, or not for its submitter.
    NotOffered = "not-offered", 422, "The job asks for what is not offered";
    /// A limit of the policy on what may wait is reached; some of it must start or go first.
    LimitReached = "limit-reached", 429, "A limit is reached";
    /// The thing is not in a state in which that can be done.
    Conflict = "conflict", 409, "That cannot be done in the present state";
    /// The policy is not the one that the change was made from (`If-Match`).
    PolicyChanged = "policy-changed", 412, "The policy was changed meanwhile";
    /// An `Idempotency-Key` was used again with another request.
    IdempotencyConflict = "idempotency-conflict", 409, "This Idempotency-Key belongs to another request";
    /// A chunk of output does not continue where the last one ended.
    WrongOffset = "wrong-offset", 409, "The chunk does not continue the file";
    /// A pilot spoke for an attempt that is not the live one.
    StaleAttempt = "stale-attempt", 409, "That attempt is no longer the live one";
    /// The pilot is over for the server; it is to stop its payloads and end.
    PilotEnded = "pilot-ended", 410, "This pilot is over";
    /// The body or a file in it is larger than allowed.
    TooLarge = "too-large", 413, "The request is too large";
    /// The body's media type is not one that this path reads.
    UnsupportedMediaType = "unsupported-media-type", 415, "This media type is not read here";
    /// The server has too much to do; try again after `Retry-After`.
    Overloaded = "overloaded", 503, "The server is overloaded";
    /// The store did not take the change: it did not happen.
    StoreUnavailable = "store-unavailable", 503, "The store does not accept changes now";
    /// A fault of the server; its log has the details under the request id.
    Internal = "internal", 500, "The server failed";
}

/// An RFC 9457 problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:fairway:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means; the same every time.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: ProblemCode,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// For JDL: every diagnostic, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// For policies: every mistake, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<fairway_model::policy::Mistake>,
    /// For output chunks: the offset at which the file can be continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_offset: Option<u64>,
}

impl Problem {
    /// A problem of this code, with what happened this time.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:fairway:problem:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            diagnostics: Vec::new(),
            mistakes: Vec::new(),
            expected_offset: None,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

/// A remark on a JDL text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// `error`, `warning`, or `notice` (what is asked for and not done).
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// Line of the place, from 1; 0 where there is none.
    pub line: u32,
    /// Column of the place in characters, from 1; 0 where there is none.
    pub column: u32,
    /// What to write instead, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The remark as a compiler would print it: place, source line, caret, help.
    pub rendered: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_same_everywhere() {
        for code in ProblemCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert!((400..600).contains(&code.status()));
        }
    }
}
