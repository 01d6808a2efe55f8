// Package sglang is everything known about talking to SGLang over HTTP: its
// JSON, its error shapes, its limits, its connections. Facts are those of
// SGLang 0.5.23.
//
// It never batches, never retries on its own account and never puts prompt text
// into an error.
//
// Read client.go first, then generate.go and errors.go. wire.go holds the JSON,
// shared with the simulator in sglang/sim.
package sglang
