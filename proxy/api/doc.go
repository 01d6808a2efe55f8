// Package api is the proxy's own contract (proto/paceline/v1): PrefillService and
// ScoreService over gRPC, as unary calls and as streams, and over REST.
//
// Read prefill.go first: a call is validated (validate.go), submitted to package
// upstream, and answered with a reply and a receipt. stream.go does the same for the
// requests of a stream, and score.go for the items of a score request. gateway.go turns
// REST into calls of a gRPC server of the same process, and jsonbody.go reads and writes
// its bodies.
//
// The package has no listeners, keys or limits: package server adds them. It never logs or
// traces prompt text, and returns it only in a reply.
package api
