//! Everything that goes wrong, as the client is told of it: the one place where
//! errors become problem documents. What the user reads and what the log holds
//! are two texts; only the log hears of databases and disks.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fairway_api::{Problem, ProblemCode};
use fairway_sched::{Refused, RefusedKind};

use crate::auth::{AuthError, TokenError};
use crate::engine::EngineError;
use crate::files::FilesError;
use crate::store::StoreError;

/// The media type of problem documents (RFC 9457).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a client may try again what the server could not do now.
const RETRY_AFTER_S: &str = "1";

/// What a client is told, and what the log is told beside it.
#[derive(Debug)]
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    for_the_log: Option<String>,
}

impl Failure {
    /// A failure that needs no word in the log.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// A failure with a text for the log that is not for the client.
    fn logged(code: ProblemCode, detail: &str, for_the_log: impl ToString) -> Self {
        Self(Box::new(Parts {
            problem: Problem::new(code, detail),
            for_the_log: Some(for_the_log.to_string()),
        }))
    }

    /// A fault of the server.
    pub(crate) fn internal(for_the_log: impl ToString) -> Self {
        Self::logged(
            ProblemCode::Internal,
            "an error inside the server; its log tells more under this request's x-request-id",
            for_the_log,
        )
    }

    /// There is no such thing, or none that this token may see.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(
            ProblemCode::NotFound,
            format!("there is no {what} that this token may see"),
        )
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    /// The body, or a part of it, is too large.
    pub(crate) fn too_large(what: &str, bytes_max: u64) -> Self {
        Self::new(
            ProblemCode::TooLarge,
            format!("{what} may have at most {bytes_max} bytes"),
        )
    }

    /// What the client is told.
    pub(crate) fn code(&self) -> ProblemCode {
        self.0.problem.code
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Parts {
            problem,
            for_the_log: None,
        }))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refused) => refused.into(),
            EngineError::Store(error) => Self::logged(
                ProblemCode::StoreUnavailable,
                "the server cannot make changes durable now; what was asked for is not \
                 confirmed. Try again: a submission with the same Idempotency-Key is made once",
                error,
            ),
            EngineError::Overloaded => Self::new(
                ProblemCode::Overloaded,
                "too many requests wait; nothing was done. Try again in a moment",
            ),
            EngineError::Stopped => Self::new(
                ProblemCode::Overloaded,
                "the server is stopping; try again when it is back",
            ),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = match refused.kind {
            RefusedKind::NotFound => ProblemCode::NotFound,
            RefusedKind::Conflict => ProblemCode::Conflict,
            RefusedKind::Invalid => ProblemCode::InvalidJdl,
            RefusedKind::IdempotencyConflict => ProblemCode::IdempotencyConflict,
            RefusedKind::Unauthorized => ProblemCode::Unauthorized,
            RefusedKind::PilotEnded => ProblemCode::PilotEnded,
            RefusedKind::NotOffered => ProblemCode::NotOffered,
            RefusedKind::LimitReached => ProblemCode::LimitReached,
            RefusedKind::PolicyChanged => ProblemCode::PolicyChanged,
        };
        Self::new(code, refused.reason)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadQuery(detail) => Self::bad_request(detail),
            other => Self::logged(
                ProblemCode::StoreUnavailable,
                "the server's database does not answer now; try again in a moment",
                other,
            ),
        }
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            AuthError::Engine(error) => error.into(),
            AuthError::PilotEnded(_) => Self::new(ProblemCode::PilotEnded, error.to_string()),
            AuthError::Missing
            | AuthError::Malformed(_)
            | AuthError::Unknown
            | AuthError::Expired(_)
            | AuthError::Revoked(_) => Self::new(ProblemCode::Unauthorized, error.to_string()),
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(detail) => Self::bad_request(detail),
            TokenError::Store(error) => error.into(),
        }
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::BadName { .. } => Self::new(ProblemCode::InvalidSandbox, error.to_string()),
            FilesError::TooLarge { .. } | FilesError::TooMany { .. } => {
                Self::new(ProblemCode::TooLarge, error.to_string())
            }
            FilesError::WrongOffset { expected } => Problem {
                expected_offset: Some(expected),
                ..Problem::new(ProblemCode::WrongOffset, error.to_string())
            }
            .into(),
            FilesError::NotFound => Self::not_found("file"),
            FilesError::Source(_) => Self::bad_request(error.to_string()),
            FilesError::Storage(error) => Self::logged(
                ProblemCode::StoreUnavailable,
                "the server cannot use its disk now, which may be full; the file was not kept",
                error,
            ),
        }
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(format!(
            "the path cannot be read: {}",
            rejection.body_text()
        ))
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!(
            "the query cannot be read: {}",
            rejection.body_text()
        ))
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::new(
                ProblemCode::TooLarge,
                "the body is larger than this path reads",
            )
        } else {
            Self::bad_request("the body did not arrive as a whole")
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Parts {
            problem,
            for_the_log,
        } = *self.0;
        if let Some(text) = for_the_log {
            tracing::error!(code = problem.code.name(), error = text, "a request failed");
        }
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            _ => {}
        }
        response
    }
}
