// Package sglang is everything known about talking to SGLang over HTTP: its
// JSON, its error shapes, its limits, its connections. Facts are those of
// SGLang 0.5.23.
//
// It never batches, never puts prompt text into an error, and sends nothing twice
// but what a closing kept-alive connection lost.
//
// Read client.go first, then generate.go, connection.go and errors.go. wire.go
// holds the JSON, shared with the simulator in sglang/sim.
package sglang
