// Package batcher collects requests into batches and hands every caller its
// own result.
//
// Submit blocks until the request is answered, fails, is refused or its context
// ends. Requests wait in a queue; a pure policy (policy.go) decides from the
// queue, the settings, the batches in flight and the time when a batch is
// released and why. Each released batch runs through the Dispatch function on
// a goroutine of its own. Waiting requests keep joining until the moment a
// batch is taken.
//
// The law of the package: every accepted request ends exactly once, as
// answered, failed or cancelled, also through Drain and Close.
//
// The package never blocks on anything but Dispatch, never polls (one timer is
// set for the next moment at which something is due), and imports no network,
// no protocol and no telemetry.
//
// Read settings.go first, then policy.go, then batcher.go.
package batcher
