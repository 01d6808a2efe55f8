package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Arrivals bounds the bytes of requests that the queue does not hold: of those that are not
// complete yet, and of those that are passed on. Together with the prompts that wait they are
// at most queue_bytes. Beyond it the largest request that is not complete is ended, so that
// those who send large requests slowly keep out nobody else.
type Arrivals struct {
	reserve func(bytes int64) error // the queue's
	pace    *rate.Limiter           // bytes of large arrivals

	mu         sync.Mutex
	unfinished map[*Arrival]struct{} // guarded by mu
}

// Arrival is what has arrived of one request, or on one connection.
type Arrival struct {
	all  *Arrivals
	end  func() // ends what arrives; may be called on any goroutine
	keep int64  // it is not ended with fewer bytes

	bytes   int64 // guarded by all.mu
	refused error // the queue's refusal once it was ended, or errOver; guarded by all.mu
}

// NewArrivals returns the arrivals whose bytes reserve counts: see batcher.Reserve.
func NewArrivals(reserve func(bytes int64) error) *Arrivals {
	return &Arrivals{reserve: reserve, pace: rate.NewLimiter(largeRate, 1<<20), unfinished: map[*Arrival]struct{}{}}
}

// An arrival is large beyond its first Large bytes. All large ones together are read at
// largeRate bytes a second: read as fast as they come, 200 of them took all of two CPUs, and a
// small request of another caller waited 100 ms for a turn in each of its goroutines.
const (
	Large     = 256 << 10
	largeRate = 256 << 20
)

// New returns an arrival without bytes. end is called at most once, when the queue has no
// room and the arrival is the largest of all, with at least keep bytes.
func (l *Arrivals) New(keep int64, end func()) *Arrival {
	return &Arrival{all: l, end: end, keep: keep}
}

// Add counts more bytes. The error is that of the queue, and then the arrival was ended.
func (a *Arrival) Add(bytes int64) error {
	l := a.all
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.refused != nil {
		return a.refused
	}
	a.bytes += bytes
	l.unfinished[a] = struct{}{}
	for err := l.reserve(bytes); err != nil; err = l.reserve(0) {
		largest := l.largest()
		if largest == nil {
			break
		}
		largest.refused = err
		largest.release()
		go largest.end() // it may wait
	}
	return a.refused
}

// Pace waits until more of a large arrival may be read, after so many bytes of it.
func (a *Arrival) Pace(bytes int) {
	time.Sleep(a.all.pace.ReserveN(time.Now(), min(bytes, a.all.pace.Burst())).Delay())
}

// largest returns the arrival that is ended next, or nil. It requires mu.
func (l *Arrivals) largest() (largest *Arrival) {
	for a := range l.unfinished {
		if a.bytes >= a.keep && (largest == nil || a.bytes > largest.bytes) {
			largest = a
		}
	}
	return largest
}

func (a *Arrival) release() {
	delete(a.all.unfinished, a)
	_ = a.all.reserve(-a.bytes)
	a.bytes = 0
}

// Release forgets the bytes so far, because the queue counts them now or nobody holds them.
func (a *Arrival) Release() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.release()
}

var errOver = errors.New("the request is over")

// Close is Release for ever.
func (a *Arrival) Close() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	a.release()
	if a.refused == nil {
		a.refused = errOver
	}
}

// complete says that all has arrived: it is not ended any more, and counts until Release.
func (a *Arrival) complete() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	delete(a.all.unfinished, a)
}

// ArrivalStep is the number of bytes that are counted at once. Fewer are counted only when
// all has arrived: they take less memory than the connection.
const ArrivalStep = 64 << 10

// Body is the body of an HTTP request, which counts what has arrived of it.
type Body struct {
	io.ReadCloser
	arrival *Arrival
	new     int64 // bytes that are not counted yet
	counted int64
}

// Body replaces the body of a request by one of at most maxBytes that is counted until
// Release, or until the request ends. Its reads fail with a *batcher.FullError if it is ended.
func (l *Arrivals) Body(w http.ResponseWriter, r *http.Request, maxBytes int64) *Body {
	b := &Body{ReadCloser: http.MaxBytesReader(w, r.Body, maxBytes)}
	b.arrival = l.New(0, func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }) // wakes Read
	context.AfterFunc(r.Context(), b.arrival.Close)
	r.Body = b
	return b
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (n int, err error) {
	n, err = b.ReadCloser.Read(p)
	b.new += int64(n)
	if b.new < ArrivalStep && err == nil {
		return n, nil
	}
	if full := b.arrival.Add(b.new); full != nil {
		err = full
	} else if b.counted += b.new; b.counted > Large {
		b.arrival.Pace(int(b.new))
	}
	b.new = 0
	if errors.Is(err, io.EOF) {
		b.arrival.complete()
	}
	return n, err
}

// Refused returns the error with which the queue ended the body, or nil.
func (b *Body) Refused() error {
	b.arrival.all.mu.Lock()
	defer b.arrival.all.mu.Unlock()
	if errors.Is(b.arrival.refused, errOver) {
		return nil
	}
	return b.arrival.refused
}

// ReleaseBody forgets the bytes of a request whose body Body has replaced, because the queue
// counts them now.
func ReleaseBody(body io.Reader) {
	if b, ok := body.(*Body); ok {
		b.arrival.Release()
	}
}
