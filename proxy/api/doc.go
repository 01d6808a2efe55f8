// Package api is the proxy's own contract (proto/paceline/v1): PrefillService over
// gRPC, as unary calls and as a stream, and over REST.
//
// Read prefill.go first: a call is validated (validate.go), submitted to package
// upstream, and answered with a reply and a receipt. stream.go does the same
// for many requests of one stream. gateway.go turns REST into calls of a gRPC server of
// the same process; jsonbody.go reads and writes its bodies.
//
// The package knows no listeners, keys or limits: package server puts those in front.
// It never logs, traces or returns prompt text other than in a reply.
package api
