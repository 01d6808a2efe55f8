// Package batcher collects requests into batches and hands every caller its own
// result.
//
// Submit blocks until the item is answered, fails, is refused or its context
// ends; SubmitFunc calls back instead. Items wait in a queue. A pure policy
// decides from the queue, the settings, the batches in flight and the time when a
// batch is released and why. Sender.Send sends each batch on a goroutine of its
// own. Waiting items keep joining until the moment a batch is taken.
//
// The queue decides which items of a lane a batch takes: callers by what they
// got, and of one caller in depth through its tree of prefixes, where prompts
// that share a new prefix with one in flight wait for its answer (package
// prefix). MaxAge bounds what that order costs anybody.
//
// What the server takes for a batch is learned (package tune): receipts predict
// it, deadlines are held against it, and ModeAuto chooses by it. A Sender finds
// bad members with Isolate, and asks Batch.Retry whether to repeat a call that
// the server failed.
//
// The law of the package: every accepted item ends exactly once, as answered,
// failed or cancelled, also through Drain and Close.
//
// The package never polls: one timer is set for the next moment at which
// something is due. It calls code of others (Sender, done, contexts) only while
// it holds no lock. It imports no network, no protocol and no telemetry.
//
// Read item.go first, then settings.go, policy.go, batcher.go, release.go,
// queue.go and batch.go.
package batcher
