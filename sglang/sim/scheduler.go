package sim

import (
	"slices"
	"sync"
	"time"
)

// job is one prompt at the server, from the front end to its end.
type job struct {
	rid     string
	space   string // cache salt and adapter
	tokens  []int32
	newToks int // tokens to generate

	state     state
	arrived   time.Time // when its call came
	ready     time.Time // when the front end handed it over
	started   time.Time // when its first forward began
	cached    int       // tokens found in the cache at its start
	computed  int       // tokens cached or computed so far
	node      *node     // end of what it holds in the cache
	aborted   bool
	crashed   bool
	finished  chan struct{}
	firstDone time.Time // when its prompt was read
}

// state is where a job is.
type state uint8

const (
	atFrontEnd state = iota
	waits
	inForward
	generates
	done
)

// Stats is what a Server has done since it was made. Tokens and forwards are
// those of prefill; seconds are simulated.
type Stats struct {
	Requests       int64   // prompts taken
	Forwards       int64   // prefill forwards
	Sequences      int64   // prompts in them, a chunked one counted in each
	PromptTokens   int64   // of finished prompts
	CachedTokens   int64   // of these, from the cache
	UncachedTokens int64   // computed
	BusySeconds    float64 // spent computing
	EvictedTokens  int64
	Aborted        int64
	Crashes        int64 // inputs that would have stopped a real server
}

// scheduler runs the device: forward after forward, each with what waits, first
// come first served, up to ChunkedPrefillSize tokens. A prompt that doesn't fit
// is cut, and goes on in the next forward before all others.
type scheduler struct {
	profile Profile
	clock   clock

	mu       sync.Mutex
	waiting  []*job
	chunked  *job              // partly read
	running  int               // jobs in a forward, the chunked one, or generating
	reserved int               // tokens of running jobs that are not cached yet
	live     map[*job]struct{} // all jobs that have not ended, those at the front end too
	cache    *radix
	stats    Stats
	idle     []chan struct{} // closed when nothing runs any more
	wake     chan struct{}   // buffered: something to do
	closed   chan struct{}
	ended    chan struct{}
}

func newScheduler(p Profile, c clock) *scheduler {
	s := &scheduler{
		profile: p, clock: c, cache: newRadix(p.KVCacheTokens),
		live: map[*job]struct{}{}, wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.run()
	return s
}

// close ends the loop and, with it, every job.
func (s *scheduler) close() {
	close(s.closed)
	<-s.ended
	s.crash(false)
}

// enter takes jobs into account, as the front end begins with them.
func (s *scheduler) enter(jobs []*job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		s.live[j] = struct{}{}
	}
	s.stats.Requests += int64(len(jobs))
}

// submit queues jobs at once, so that one forward can take them all. Jobs that
// have ended at the front end are passed over.
func (s *scheduler) submit(jobs ...*job) {
	s.mu.Lock()
	for _, j := range jobs {
		if j.state == atFrontEnd {
			j.state = waits
			s.waiting = append(s.waiting, j)
		}
	}
	s.mu.Unlock()
	s.poke()
}

func (s *scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *scheduler) run() {
	defer close(s.ended)
	var deviceFree time.Time
	for {
		batch, cost, start := s.plan(deviceFree)
		if batch == nil {
			select {
			case <-s.wake:
				continue
			case <-s.closed:
				return
			}
		}
		deviceFree = start.Add(s.clock.real(cost))
		sleepUntil(deviceFree, s.closed)
		select {
		case <-s.closed:
			return
		default:
		}
		s.complete(batch, cost, deviceFree)
	}
}

// part is what a forward computes of one job.
type part struct {
	job    *job
	tokens int
}

// plan chooses the next forward: its parts, its simulated seconds and its
// start. The start is when the device was free and the first job was there, not
// when this goroutine woke up.
func (s *scheduler) plan(deviceFree time.Time) ([]part, float64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	start := deviceFree
	if s.chunked == nil {
		if len(s.waiting) == 0 {
			return nil, 0, start
		}
		if first := s.waiting[0].ready; first.After(start) {
			start = first
		}
	}
	budget := s.profile.ChunkedPrefillSize
	var batch []part
	if j := s.chunked; j != nil {
		batch = append(batch, s.takePart(j, &budget))
	}
	for budget > 0 && s.chunked == nil && len(s.waiting) > 0 && s.running < s.profile.MaxRunningRequests {
		j := s.waiting[0]
		if j.ready.After(start) || !s.admit(j, start) {
			break
		}
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		batch = append(batch, s.takePart(j, &budget))
	}
	uncached := 0
	for _, p := range batch {
		uncached += p.tokens
	}
	p := s.profile
	return batch, p.ForwardSeconds + float64(len(batch))*p.SequenceSeconds + float64(uncached)*p.TokenSeconds, start
}

// admit makes room for a job and finds what of it is cached: at most all but
// its last token. It reports false when the cache is full of running work.
func (s *scheduler) admit(j *job, start time.Time) bool {
	matched, end := s.cache.match(j.space, j.tokens[:len(j.tokens)-1])
	s.cache.hold(end)
	need := len(j.tokens) - matched
	if !s.cache.makeRoom(s.cache.capacity-s.reserved-need) && s.running > 0 {
		s.cache.release(end)
		return false
	}
	j.cached, j.computed, j.node, j.started, j.state = matched, matched, end, start, inForward
	s.running++
	s.reserved += need
	return true
}

// takePart gives a job its part of the forward; a job cut short is the chunked
// one from now on.
func (s *scheduler) takePart(j *job, budget *int) part {
	n := min(len(j.tokens)-j.computed, *budget)
	*budget -= n
	j.computed += n
	s.chunked = nil
	if j.computed < len(j.tokens) {
		s.chunked = j
	}
	return part{j, n}
}

// complete books a forward: what it computed is cached from now on, and jobs
// that have been read to their end are answered.
func (s *scheduler) complete(batch []part, cost float64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Forwards++
	s.stats.Sequences += int64(len(batch))
	s.stats.BusySeconds += cost
	for _, p := range batch {
		j := p.job
		if j.crashed {
			continue // it was ended, and its cache is gone
		}
		s.stats.UncachedTokens += int64(p.tokens)
		s.reserved -= p.tokens
		s.keep(j)
		switch {
		case j.aborted:
			if s.chunked == j {
				s.chunked = nil
			}
			s.end(j)
		case s.chunked != j:
			j.firstDone = now
			s.stats.PromptTokens += int64(len(j.tokens))
			s.stats.CachedTokens += int64(j.cached)
			s.generate(j)
		}
	}
}

// keep caches what has been computed of a job.
func (s *scheduler) keep(j *job) {
	s.cache.release(j.node)
	j.node = s.cache.insert(j.space, j.tokens[:j.computed])
	s.cache.hold(j.node)
}

// generate lets the time of tokens beyond the first pass, one forward each, and
// then ends the job. Generating doesn't hold up prefill here.
func (s *scheduler) generate(j *job) {
	if j.newToks <= 1 {
		s.end(j)
		return
	}
	j.state = generates
	last := j.firstDone.Add(s.clock.real(float64(j.newToks-1) * s.profile.ForwardSeconds))
	time.AfterFunc(time.Until(last), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if j.state == generates {
			s.end(j)
		}
	})
}

// end gives up what a running job holds, and answers it.
func (s *scheduler) end(j *job) {
	s.cache.release(j.node)
	s.running--
	s.reserved -= len(j.tokens) - j.computed
	s.cache.makeRoom(s.cache.capacity - s.reserved)
	s.finish(j)
	s.poke()
}

func (s *scheduler) finish(j *job) {
	if j.aborted {
		s.stats.Aborted++
	}
	j.state = done
	delete(s.live, j)
	close(j.finished)
	if len(s.live) == 0 {
		s.tellIdle()
	}
}

func (s *scheduler) tellIdle() {
	for _, c := range s.idle {
		close(c)
	}
	s.idle = nil
}

// abort ends the jobs for which match holds: one that waits or generates at
// once, one that is cut after its forward. A whole forward is not interrupted.
func (s *scheduler) abort(match func(*job) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for j := range s.live {
		if !match(j) {
			continue
		}
		switch {
		case j.state == waits:
			s.waiting = slices.DeleteFunc(s.waiting, func(other *job) bool { return other == j })
			j.aborted = true
			s.finish(j)
		case j.state == atFrontEnd:
			j.aborted = true
			s.finish(j)
		case j.state == generates:
			j.aborted = true
			s.end(j)
		case j == s.chunked:
			j.aborted = true
		}
	}
}

// crash is the end of a real server: every job ends without an answer, and the
// cache is lost.
func (s *scheduler) crash(counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if counted {
		s.stats.Crashes++
	}
	for j := range s.live {
		j.crashed, j.state = true, done
		close(j.finished)
	}
	clear(s.live)
	s.waiting, s.chunked, s.running, s.reserved = nil, nil, 0, 0
	s.stats.EvictedTokens += s.cache.evicted
	s.cache = newRadix(s.profile.KVCacheTokens)
	s.tellIdle()
}

// flush empties the cache once nothing runs, waiting for that until the
// deadline, and reports whether it did.
func (s *scheduler) flush(deadline time.Time, gone <-chan struct{}) bool {
	for {
		s.mu.Lock()
		if len(s.live) == 0 {
			s.cache.clear()
			s.mu.Unlock()
			return true
		}
		idle := make(chan struct{})
		s.idle = append(s.idle, idle)
		s.mu.Unlock()
		wait := time.Until(deadline)
		if wait <= 0 {
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case <-idle:
		case <-timer.C:
		case <-gone:
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// snapshot returns the counters and how many prompts run and wait.
func (s *scheduler) snapshot() (st Stats, running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st = s.stats
	st.EvictedTokens += s.cache.evicted
	return st, s.running, len(s.live) - s.running
}
