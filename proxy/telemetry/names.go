package telemetry

// Names of the semantic conventions (OpenTelemetry 1.43 for rpc and http; its gen_ai
// ones are still in development) and, below batch., ours. The same names stand on
// both sides of a link, because Jaeger finds attributes and not links.
const (
	RPCSystem     = "rpc.system.name"
	RPCMethod     = "rpc.method"
	RPCStatus     = "rpc.response.status_code"
	HTTPMethod    = "http.request.method"
	HTTPStatus    = "http.response.status_code"
	HTTPRoute     = "http.route"
	URLPath       = "url.path"
	ServerAddress = "server.address"
	ServerPort    = "server.port"
	ErrorType     = "error.type"

	GenAIOperation    = "gen_ai.operation.name"
	GenAIProvider     = "gen_ai.provider.name"
	GenAIModel        = "gen_ai.request.model"
	GenAIMaxTokens    = "gen_ai.request.max_tokens"
	GenAIInputTokens  = "gen_ai.usage.input_tokens"
	GenAIOutputTokens = "gen_ai.usage.output_tokens"
	GenAICachedTokens = "gen_ai.usage.cache_read.input_tokens"
	GenAITokenType    = "gen_ai.token.type"

	Trajectory = "paceline.trajectory.id" // of the load generator
	Setting    = "paceline.setting"       // under which it was sent: 8, auto
	Phase      = "paceline.phase"         // cold or warm
	Repeat     = "paceline.repeat"        // from 1

	BatchID        = "batch.id"             // as on the receipt
	BatchSize      = "batch.size"           // prompts at the release
	BatchPosition  = "batch.position"       // of the prompt in it, from 0
	BatchReason    = "batch.release_reason" // full, budget, wait, deadline, idle, drain, unbatched
	BatchWait      = "batch.wait_seconds"   // from being accepted to the release
	BatchPredicted = "batch.predicted_seconds"
	BatchRequests  = "batch.requests" // callers: prompts and those merged with them
	BatchMerged    = "batch.merged"   // other requests that the same prompt answered
	BatchAttempts  = "batch.attempts" // calls to SGLang that the prompt took part in
	BatchCalls     = "batch.calls"    // calls to SGLang that the batch took
	BatchSplit     = "batch.split"    // whether it was sent again in parts to find a bad member
	BatchUncached  = "batch.predicted_uncached_tokens"
)

// Names of spans.
const (
	SpanWait     = "batch.wait"     // of a request, from being accepted to the release
	SpanExecute  = "batch.execute"  // of a request, from the release to its end; links to its batch
	SpanDispatch = "batch.dispatch" // a batch: the root of a trace of its own, with a link to each request
	SpanMember   = "batch.member"   // one prompt of a batch; links to its request
	SpanGenerate = "POST /generate" // one call to SGLang, whose spans hang below it
)

// Names of metrics: those of the semantic conventions in Prometheus' spelling, and
// below paceline_ ours. Times are in seconds.
const (
	MetricRPCDuration         = "rpc_server_call_duration_seconds"
	MetricHTTPDuration        = "http_server_request_duration_seconds"
	MetricGenAIServerDuration = "gen_ai_server_request_duration_seconds"   // of a prompt, as callers see it
	MetricGenAIClientDuration = "gen_ai_client_operation_duration_seconds" // of a call to SGLang
	MetricGenAITokens         = "gen_ai_client_token_usage"                // of a call to SGLang

	MetricRequests         = "paceline_requests_total"
	MetricRefusals         = "paceline_refusals_total"
	MetricMerged           = "paceline_merged_requests_total"
	MetricQueueWait        = "paceline_queue_wait_seconds"
	MetricBatches          = "paceline_batches_total"
	MetricBatchSize        = "paceline_batch_size"
	MetricBatchFill        = "paceline_batch_fill_ratio"
	MetricBatchDuration    = "paceline_batch_duration_seconds"
	MetricPredictionError  = "paceline_batch_actual_to_predicted_ratio"
	MetricPromptTokens     = "paceline_prompt_tokens_total"
	MetricCachedTokens     = "paceline_cached_tokens_total"
	MetricSplits           = "paceline_isolation_splits_total"
	MetricRetries          = "paceline_retries_total"
	MetricQueueRequests    = "paceline_queue_requests"
	MetricQueueBytes       = "paceline_queue_bytes"
	MetricQueueLimit       = "paceline_queue_limit_requests"
	MetricQueueByteLimit   = "paceline_queue_limit_bytes"
	MetricHeld             = "paceline_held_prompts"
	MetricInFlight         = "paceline_in_flight_batches"
	MetricInFlightLimit    = "paceline_in_flight_limit_batches"
	MetricInFlightRequests = "paceline_in_flight_requests"
	MetricBatchSizeLimit   = "paceline_batch_size_limit"
	MetricUpstreamReady    = "paceline_upstream_ready"
	MetricBreakerOpen      = "paceline_upstream_breaker_open"
	MetricReady            = "paceline_ready"
	MetricSpans            = "paceline_trace_spans_total"
	MetricSpansWaiting     = "paceline_trace_spans_waiting"
	MetricBuild            = "paceline_build_info"
)

// Labels of metrics. Each has few values: none comes from a request as it is.
const (
	LabelMethod    = "rpc_method"
	LabelStatus    = "rpc_response_status_code"
	LabelSystem    = "rpc_system_name"
	LabelHTTP      = "http_request_method"
	LabelRoute     = "http_route"
	LabelCode      = "http_response_status_code"
	LabelOperation = "gen_ai_operation_name"
	LabelProvider  = "gen_ai_provider_name"
	LabelModel     = "gen_ai_request_model"
	LabelTokenType = "gen_ai_token_type"
	LabelError     = "error_type"
	LabelOutcome   = "outcome"
	LabelReason    = "reason"
	LabelUpstream  = "upstream"
	LabelVersion   = "version"
)

// Values of attributes and labels.
const (
	OperationPrefill = "text_completion"
	ProviderSGLang   = "sglang"
)
