// Package upstream sends prompts to the one SGLang behind the proxy, and queues those that
// wait for it.
//
// Read upstream.go first: Upstream joins the parts. A prompt passes submit.go (admit it and
// wait for its answer), package batcher (queue, order, release), send.go (a batch becomes
// one call, which is repeated or split if it fails, and each member gets a result) and
// receipt.go. prompt.go has the immutable Prompt. snapshot.go has what is known of SGLang at
// one moment: a prompt is checked and encoded for one snapshot, and is never sent to an
// SGLang that serves another model.
//
// watch.go asks SGLang whether it is ready and what it serves. tokenizer.go turns texts into
// token ids. trace.go records the spans of requests and batches. pass.go forwards requests
// that are not batched. arrivals.go bounds the bytes of requests that are not complete.
// status.go is the only place that maps an error to a gRPC status.
//
// The package never logs, traces or returns prompt text. It sends only checked prompts.
package upstream
