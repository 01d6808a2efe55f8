// Package upstream is the one SGLang behind the proxy, with the queue of the
// prompts that wait for it.
//
// Read upstream.go first: Upstream joins the parts. A prompt's way through them is
// submit.go (admit a prompt, wait for its answer), package batcher (queue, order,
// release), send.go (one batch becomes one call, and each member gets a result) and
// receipt.go. prompt.go is the value that travels, snapshot.go what is known of
// SGLang at one moment: a prompt is checked and encoded for one snapshot, and never
// sent to an SGLang that serves another model.
//
// watch.go asks SGLang whether it is ready and what it serves. attempt.go repeats
// and splits a failed call, pass.go forwards what is not batched, and status.go is
// the one place where an error becomes a gRPC status.
//
// The package never logs, traces or returns prompt text, and sends nothing that has
// not been checked.
package upstream
