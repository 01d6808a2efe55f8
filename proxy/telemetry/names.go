package telemetry

// Names of attributes: those of the semantic conventions (OpenTelemetry 1.43 for rpc and
// http; gen_ai is still in development), and our own, which begin with paceline. or batch.
// Both sides of a link have the same batch. attributes, because Jaeger searches
// attributes, not links.
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
	GenAIInputTokens  = "gen_ai.usage.input_tokens"
	GenAIOutputTokens = "gen_ai.usage.output_tokens"
	GenAICachedTokens = "gen_ai.usage.cache_read.input_tokens"

	Trajectory = "paceline.trajectory.id" // this and the next three are of loadgen
	Setting    = "paceline.setting"       // 8, auto
	Phase      = "paceline.phase"         // cold or warm
	Repeat     = "paceline.repeat"        // from 1

	Role = "paceline.role"         // alone, leader, follower or overtook: of a request that is passed on
	Held = "paceline.held_seconds" // how long it waited for its leader, to whom a follower's span has a link

	BatchID        = "batch.id"             // as in the receipt
	BatchSize      = "batch.size"           // prompts at the release
	BatchPosition  = "batch.position"       // of the prompt in the batch, from 0
	BatchReason    = "batch.release_reason" // full, budget, wait, deadline, idle, drain, unbatched, age
	BatchWait      = "batch.wait_seconds"   // from acceptance to release
	BatchPredicted = "batch.predicted_seconds"
	BatchRequests  = "batch.requests" // prompts, and the requests merged into them
	BatchMerged    = "batch.merged"   // other requests that the prompt answers
	BatchAttempts  = "batch.attempts" // calls to SGLang that included the prompt
	BatchCalls     = "batch.calls"    // calls to SGLang for the batch
	BatchSplit     = "batch.split"    // whether it was sent in parts to find a bad prompt
	BatchUncached  = "batch.predicted_uncached_tokens"
)

// Names of spans.
const (
	SpanWait     = "batch.wait"     // of a request, from its acceptance to the release of its batch
	SpanExecute  = "batch.execute"  // of a request, from the release of its batch to its end; links to the batch
	SpanDispatch = "batch.dispatch" // of a batch, the root of its trace; links to its sampled requests
	SpanMember   = "batch.member"   // of one prompt of a batch; links to its requests
	SpanGenerate = "POST /generate" // of one call to SGLang, the parent of SGLang's own spans
)

// Values of attributes and of labels of metrics.
const (
	OperationPrefill = "text_completion"
	ProviderSGLang   = "sglang"
)
