// Package sglang is everything known about talking to SGLang over HTTP: its
// JSON, its error shapes, its limits, its connections. Facts are those of
// SGLang 0.5.23.
//
// It never batches, never puts prompt text into an error, and sends nothing twice
// but what a closing kept-alive connection lost.
//
// Why not SGLang's gRPC: neither service that a release turns on by flag takes a
// batch. The native one (--grpc-port, sglang.runtime.v1) takes one prompt a call
// and knows no API key; the scheduler's (--smg-grpc-mode) one tokenized prompt,
// without priority or cache salt, and replaces HTTP. The Rust server's
// (sglang.api.v1, experimental and off by default) takes lists, but hands their
// items to the scheduler one by one. A batch would be many calls again, so the
// list over HTTP stays the only way to have one arrive whole.
//
// Read client.go first, then generate.go, stream.go, connection.go and errors.go.
// wire.go holds the JSON, shared with the simulator in sglang/sim.
package sglang
