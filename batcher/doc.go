// Package batcher collects items into batches and returns to each caller its own result.
//
// Submit waits for the result of an item; SubmitFunc calls back instead. Items wait in a
// queue until their batch is released. A pure policy decides when to release a batch and
// why, from the queue, the settings, the batches in flight and the time. Sender.Send
// sends each batch on its own goroutine.
//
// The queue decides which items a batch takes. It serves first the caller that was served
// least, and the prompts of one caller in depth-first order of their prefixes. A prompt
// that shares a new prefix with one in flight is held for its answer (package prefix).
// MaxAge bounds how long this order may delay an item.
//
// Package tune learns how long the server takes for a batch. Receipts have the predicted
// time, and items that would miss their deadline are refused. A Sender finds bad members
// with Isolate. It asks Batch.Retry whether to repeat a call that the server failed.
//
// The law of the package: every accepted item ends exactly once, as answered, failed or
// cancelled, also during Drain and Close.
//
// The package never polls: one timer runs until the next batch is due. It calls code of
// others (Sender, done, contexts) only while it holds no lock. It imports no network, no
// protocol and no telemetry.
//
// Read item.go first, then settings.go, policy.go, batcher.go, release.go, queue.go and
// batch.go.
package batcher
