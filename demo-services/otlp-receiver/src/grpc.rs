//! OTLP/gRPC.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::behaviour::Refusal;
use crate::log::{Log, ReceivedRequest, Transport};

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Serves until the task is aborted. Messages over tonic's 4 MiB are refused, as most collectors do.
pub(crate) async fn serve(listener: TcpListener, log: Arc<Log>) {
    let service = TraceServiceServer::new(Traces(log)).accept_compressed(CompressionEncoding::Gzip);
    let served = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await;
    debug_assert!(served.is_ok(), "accepting on a bound loopback port does not fail: {served:?}");
}

struct Traces(Arc<Log>);

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let request = ReceivedRequest {
            transport: Transport::Grpc,
            path: PATH.to_owned(),
            gzip: headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip"),
            headers,
            accepted: false,
            message: Arc::new(message),
        };
        match self.0.answer(request).await {
            Ok(partial_success) => Ok(Response::new(ExportTraceServiceResponse { partial_success })),
            Err(Refusal { grpc_code, retry_after: None, .. }) => Err(Status::new(grpc_code, "told to refuse")),
            Err(Refusal { grpc_code, retry_after, .. }) => {
                let details = ErrorDetails::with_retry_info(retry_after);
                Err(Status::with_error_details(grpc_code, "told to refuse", details))
            }
        }
    }
}
