// Package batcher collects requests into batches and hands every caller its
// own result.
//
// Submit blocks until the request is answered, fails, is refused or its context
// ends; SubmitFunc calls back instead. Requests wait in a queue; a pure policy
// (policy.go) decides from the queue, the settings, the batches in flight and the
// time when a batch is released and why. Released batches run through the Dispatch
// function, each beside the others, on goroutines that stay while there is work.
// Waiting requests keep joining until the moment a batch is taken.
//
// Which requests of a lane a batch takes is the order of the queue: callers by
// what they got (caller.go), and of one caller in depth through the tree of
// prefixes (tree.go), where what shares a new prefix with a request in flight
// waits for its answer (belief.go says what the server is believed to have
// cached). MaxAge bounds what that costs anybody.
//
// What the server takes for a batch is learned (meter.go, cost.go): receipts
// predict it, deadlines are held against it, and ModeAuto chooses by it
// (auto.go). Dispatch finds bad members with Isolate (isolate.go) and asks Retry
// whether to repeat a call that the server failed (breaker.go).
//
// The law of the package: every accepted request ends exactly once, as
// answered, failed or cancelled, also through Drain and Close.
//
// The package never blocks on anything but Dispatch and the pause before a
// repeated call, never polls (one timer is set for the next moment at which
// something is due), and imports no network, no protocol and no telemetry.
//
// Read settings.go first, then policy.go, batcher.go, queue.go and tree.go.
package batcher
