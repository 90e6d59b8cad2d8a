//! OTLP/gRPC.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::behaviour::Refusal;
use crate::log::{Log, Received, ReceivedMetrics, ReceivedRequest, Transport, metrics_rejected};

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Serves until the task is aborted. Messages over tonic's 4 MiB are refused, as most collectors do.
pub(crate) async fn serve(listener: TcpListener, log: Arc<Log>) {
    let traces = TraceServiceServer::new(Collector(Arc::clone(&log))).accept_compressed(CompressionEncoding::Gzip);
    let metrics = MetricsServiceServer::new(Collector(log)).accept_compressed(CompressionEncoding::Gzip);
    let server = Server::builder().add_service(traces).add_service(metrics);
    let served = server.serve_with_incoming(TcpIncoming::from(listener)).await;
    debug_assert!(served.is_ok(), "accepting on a bound loopback port does not fail: {served:?}");
}

struct Collector(Arc<Log>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request: ReceivedRequest = received(PATH, metadata, message);
        let partial_success = self.0.answer(request).await.map_err(refused)?;
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request: ReceivedMetrics = received(METRICS_PATH, metadata, message);
        let partial = self.0.answer_metrics(request).await.map_err(refused)?;
        Ok(Response::new(ExportMetricsServiceResponse { partial_success: partial.map(metrics_rejected) }))
    }
}

fn received<T>(path: &str, metadata: MetadataMap, message: T) -> Received<T> {
    let headers = metadata.into_headers();
    Received {
        transport: Transport::Grpc,
        path: path.to_owned(),
        gzip: headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip"),
        headers,
        accepted: false,
        message: Arc::new(message),
    }
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal { grpc_code, retry_after: None, .. } => Status::new(grpc_code, "told to refuse"),
        Refusal { grpc_code, retry_after, .. } => {
            let details = ErrorDetails::with_retry_info(retry_after);
            Status::with_error_details(grpc_code, "told to refuse", details)
        }
    }
}
