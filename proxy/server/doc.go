// Package server is the body of the proxy: gRPC and REST in front, a batcher in
// the middle, SGLang behind.
//
// A prompt's way is prefill.go (the methods) → validate.go (what may pass) →
// package batcher → dispatch.go (a batch becomes one call to SGLang) →
// reply.go (the answer with its receipt). upstream.go knows whether SGLang is
// there, readiness.go says so to everybody who asks, and status.go is the one
// place where an error becomes a gRPC status. server.go owns the listeners and
// their life; read it first.
//
// The package never logs, traces or reports prompt text, never sends anything to
// SGLang that it has not validated, and cuts no accepted request before
// Config.DrainTimeout has passed.
package server
