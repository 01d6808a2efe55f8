// Package sglang is a client of SGLang over HTTP: it knows SGLang's JSON, error shapes,
// limits and connections. The facts are those of SGLang 0.5.23.
//
// It never batches and never puts prompt text into an error. It repeats a call only if
// the call was lost on a kept-alive connection that the server closed.
//
// Why not SGLang's gRPC: neither service that a release turns on by flag takes a batch.
// The native one (--grpc-port, sglang.runtime.v1) takes one prompt a call and knows no API
// key. The scheduler's (--smg-grpc-mode) takes one tokenized prompt, without priority or
// cache salt, and replaces HTTP. The Rust server's (sglang.api.v1, experimental and off by
// default) takes lists, but hands their items to the scheduler one by one. Only the list
// over HTTP arrives whole.
//
// Read client.go first: a Client and what all calls share. generate.go sends a list and
// reads its answers, endpoints.go has the other calls.
// wire.go holds the JSON that SGLang answers, which the simulator in sglang/sim uses too;
// encode.go writes the JSON of a list; errors.go understands refusals; transport.go moves
// bytes.
package sglang
