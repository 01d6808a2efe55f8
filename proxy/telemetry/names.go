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
