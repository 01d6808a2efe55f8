package sglang

import (
	"sync"
	"sync/atomic"
)

// body is the body of one request, with what is known of how it was sent.
type body struct {
	data []byte // nil: none

	sent    atomic.Bool  // any of the request may have reached the server, whatever became of it
	writing atomic.Int32 // attempts to send it whose writing has not ended, as far as is known
}

// bodies are those of lists, to be used again: a list of sixteen prompts of 8 KiB is
// 170 KiB, which would be garbage after each call.
var bodies = sync.Pool{New: func() any { return new(body) }}

// mostKept is the longest body that is kept to be used again, bytes.
const mostKept = 4 << 20

// newBody returns one without data.
func newBody() *body { return bodies.Get().(*body) }

// release gives the body up, once the call that it was for has ended. net/http may
// still be reading it then, if the answer came early or the call was cancelled: then
// it is left to the garbage collector.
func (b *body) release() {
	if b.writing.Load() > 0 || cap(b.data) > mostKept {
		return
	}
	b.data = b.data[:0]
	b.sent.Store(false)
	bodies.Put(b)
}
