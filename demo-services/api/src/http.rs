//! The HTTP side: routes, what a request must look like, and which status each outcome has. Every answer is JSON.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use crate::id::ReportId;
use crate::reports::{Order, Reports, ReportsError};

/// Longest request body, in bytes. An order is a title, and a number.
const MAX_BODY: usize = 16 * 1024;

/// Longest title, in characters.
const MAX_TITLE: usize = 200;

/// Longest number of an order, in characters.
const MAX_NUMBER: usize = 40;

/// Longest `?wait=`, in seconds: less than the idle limit of common load balancers.
const MAX_WAIT: u64 = 30;

pub(crate) fn routes(reports: Reports) -> Router {
    Router::new()
        .route("/reports", post(order))
        .route("/reports/{id}", get(report))
        .route("/health", get(health))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(reports)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with a `title`")]
struct OrderBody {
    title: String,
    /// The client's own number for it, if it has one.
    order: Option<String>,
}

#[derive(Deserialize)]
struct ReportQuery {
    /// Seconds to wait for the report to be complete.
    #[serde(default)]
    wait: u64,
}

async fn order(State(reports): State<Reports>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let body = body.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let body: OrderBody = serde_json::from_slice(&body)
        .map_err(|error| Failure::bad_request(format!("the body is not a report's order: {error}")))?;
    let title = body.title.trim();
    if title.is_empty() || title.chars().count() > MAX_TITLE {
        return Err(Failure::bad_request(format!("`title` must have 1 to {MAX_TITLE} characters")));
    }
    let number = body.order.as_deref().map(str::trim);
    if number.is_some_and(|number| number.is_empty() || number.chars().count() > MAX_NUMBER) {
        return Err(Failure::bad_request(format!("`order` must have 1 to {MAX_NUMBER} characters")));
    }
    let id = reports.accept(Order { title: title.to_owned(), number: number.map(str::to_owned) }).await?;
    let location = format!("/reports/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(json!({ "id": id }))).into_response())
}

async fn report(
    State(reports): State<Reports>,
    Path(id): Path<String>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(ReportQuery { wait }) = query.map_err(|rejection| Failure::bad_request(rejection.body_text()))?;
    if wait > MAX_WAIT {
        return Err(Failure::bad_request(format!("`wait` is at most {MAX_WAIT} seconds")));
    }
    let report = match ReportId::parse(&id) {
        Some(id) => reports.find_complete(&id, Duration::from_secs(wait)).await?,
        None => None,
    };
    match report {
        Some(report) => Ok(Json(report).into_response()),
        None => Err(Failure::new(StatusCode::NOT_FOUND, "no report has this id, or it has expired")),
    }
}

async fn health(State(reports): State<Reports>) -> Result<Response, Failure> {
    reports.ping().await?;
    Ok(Json(json!({ "status": "ok" })).into_response())
}

/// An answer that says what is wrong: `{"error": reason}`.
struct Failure {
    status: StatusCode,
    reason: String,
}

impl Failure {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

impl From<ReportsError> for Failure {
    fn from(error: ReportsError) -> Self {
        let status = match error {
            ReportsError::Redis(_) | ReportsError::Timeout | ReportsError::NoWorker => StatusCode::SERVICE_UNAVAILABLE,
            ReportsError::Random(_) | ReportsError::Corrupt { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        eprintln!("api: answered {status}: {error}");
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.reason }))).into_response()
    }
}
