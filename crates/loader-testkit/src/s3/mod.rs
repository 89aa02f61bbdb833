//! The CDN: an S3 store on a directory that verifies SigV4.

mod condition;
mod object_body;
mod policy;
mod seeding;
mod store;
mod uploads;

use crate::access_log::{AccessLog, Observer, observe};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use loader_model::CdnCredentials;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use std::sync::Arc;

pub(crate) use store::ObjectStore;

/// Region in the generated `cdn.yaml`. The store accepts any region.
pub(crate) const REGION: &str = "us-east-1";

/// Maximum size of an XML body in bytes, enough for a list of 10 000 parts.
const XML_MAX: usize = 4 * 1024 * 1024;

/// Returns the router of the store for the key pairs in `cdn`. A layer added to it sees
/// every request.
pub(crate) fn router(store: ObjectStore, cdn: &CdnCredentials, log: Arc<AccessLog>) -> Router {
    let service = service(store, cdn);
    let handler = move |request: Request| {
        let service = service.clone();
        async move {
            // A request completes even if its client disconnects.
            let serving = tokio::spawn(async move { call(&service, request).await });
            serving.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    };
    Router::new().fallback(handler).layer(from_fn_with_state(Observer { log, server: "s3" }, observe))
}

fn service(store: ObjectStore, cdn: &CdnCredentials) -> S3Service {
    let mut auth = SimpleAuth::new();
    auth.register(cdn.downloader_access_key.clone(), cdn.downloader_access_secret.clone().into());
    if let (Some(key), Some(secret)) = (&cdn.uploader_access_key, &cdn.uploader_access_secret) {
        auth.register(key.clone(), secret.clone().into());
    }
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_auth(auth);
    builder.set_access(policy::Policy::new(cdn.clone()));
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

/// Calls the store, and adds `Accept-Ranges` to the response for an object.
async fn call(service: &S3Service, request: Request) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match service.call(request.map(s3s::Body::http_body_unsync)).await {
        Ok(response) => {
            let mut response = response.into_response();
            if reads && response.headers().contains_key(header::ETAG) {
                response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
