package sim

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// job is one prompt at the server, from the front end to its answer.
type job struct {
	*prompt
	arrived  time.Time // when its call arrived
	ready    time.Time // when the front end handed it over
	finished chan struct{}

	// Set by the scheduler under its lock, and fixed once finished is closed.
	state    state
	started  time.Time // when its first forward began
	read     time.Time // when its prompt was read
	ended    time.Time
	cached   int   // tokens found in the cache at its start
	computed int   // tokens cached or computed so far
	kept     int   // tokens of it that are in the cache
	made     int   // tokens generated
	node     *node // end of what it holds in the cache
	aborted  bool
	crashed  bool // ended without an answer
}

// state says where a job is.
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
	Requests       int64   // prompts accepted
	Forwards       int64   // prefill forwards
	Sequences      int64   // prompts in them; a chunked one counts in each
	PromptTokens   int64   // of finished prompts
	CachedTokens   int64   // of these, from the cache
	UncachedTokens int64   // computed
	BusySeconds    float64 // spent computing
	EvictedTokens  int64
	Aborted        int64
	Crashes        int64 // inputs that would have crashed a real server
}

// scheduler runs the device: forward after forward, each with up to ChunkedPrefillSize
// tokens of the waiting jobs, first come, first served. A prompt that doesn't fit is cut
// and continues in the next forward, before all others.
//
// If launching takes time (LaunchSeconds), the scheduler overlaps as SGLang does on a GPU
// (0.5.17, event_loop_overlap): it launches what waits, and only then waits for the result
// of the forward before. So that forward's prefixes are not shared with the new one, and
// its answers are as late as the launch.
type scheduler struct {
	profile Profile
	clock   clock
	front   *frontEnd // whose work may slow the device down

	mu       sync.Mutex // guards all to closed
	waiting  []*job
	chunked  *job              // partly read
	running  int               // jobs in a forward, the chunked one, or generating
	reserved int               // tokens of running jobs that are not cached yet
	live     map[*job]struct{} // all jobs that have not ended, those at the front end too
	cache    *radix
	stats    Stats
	busyTo   time.Time     // end of the last forward, whose seconds are counted
	blocked  bool          // waiting jobs were not started for lack of room
	over     bool          // closed: no job is accepted
	idle     chan struct{} // closed and replaced when the last live job ends
	life     chan struct{} // closed and replaced at a crash

	wake   chan struct{} // buffered: something to do
	closed chan struct{}
	ended  chan struct{}
}

func newScheduler(p Profile, c clock, front *frontEnd) *scheduler {
	s := &scheduler{
		profile: p, clock: c, front: front, cache: newRadix(p.KVCacheTokens),
		live: map[*job]struct{}{}, idle: make(chan struct{}), life: make(chan struct{}),
		wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.run()
	return s
}

// close ends every job, also future ones, and the loop. Call it once.
func (s *scheduler) close() {
	s.mu.Lock()
	s.over = true
	s.dropAll()
	s.mu.Unlock()
	close(s.closed)
	<-s.ended
}

// register adds jobs that the front end begins with, and returns a channel that is closed
// when the server crashes.
func (s *scheduler) register(jobs []*job) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range jobs {
		s.live[j] = struct{}{}
	}
	s.stats.Requests += int64(len(jobs))
	life := s.life
	if s.over {
		s.dropAll()
	}
	return life
}

// submit queues jobs together, so that one forward can take them all. It skips jobs that
// have ended at the front end.
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
	var free time.Time   // when the scheduler has done, or will have done, what it began
	var device time.Time // when the device finished, or will finish, its last forward
	var last *forward    // launched, its result not yet looked at
	for {
		f := s.plan(free, last != nil)
		if f == nil && last == nil {
			select {
			case <-s.wake:
				continue
			case <-s.closed:
				return
			}
		}
		if f != nil {
			free = s.launch(f, device)
			device = f.end
		}
		if s.profile.LaunchSeconds > 0 {
			f, last = last, f
		}
		if f == nil {
			continue
		}
		free = later(free, s.compute(f))
		device = later(device, f.end)
		select {
		case <-f.life: // the server crashed during the forward
			free = time.Now()
			device = free
		default:
			s.complete(f, free)
		}
	}
}

// launch sleeps while the scheduler launches a forward, and returns when it has. It sets
// the forward's end.
func (s *scheduler) launch(f *forward, device time.Time) time.Time {
	host := s.profile.LaunchSeconds + s.profile.AloneSeconds/float64(len(f.parts))
	begin := f.start.Add(s.clock.real(f.scheduling))
	launched := begin.Add(s.clock.real(host))
	f.end = later(later(begin, device).Add(s.clock.real(f.cost)), launched)
	if host > 0 || f.scheduling > 0 {
		sleepUntil(launched, f.life)
	}
	return launched
}

// compute sleeps until the end of a forward and returns it. Work of the front end meanwhile
// may lengthen the forward.
func (s *scheduler) compute(f *forward) time.Time {
	sleepUntil(f.end, f.life)
	alone := f.end.Sub(f.start)
	for s.profile.Contention > 0 {
		longer := time.Duration(s.profile.Contention * float64(s.front.worked(f.start, f.end)))
		then := f.start.Add(alone + min(alone, longer)) // two that share a core get half each
		if !then.After(f.end) {
			break
		}
		f.end = then
		sleepUntil(f.end, f.life)
	}
	return f.end
}

// forward is one pass of the device.
type forward struct {
	parts      []part
	scheduling float64   // simulated seconds of the scheduler, for its prompts
	cost       float64   // simulated seconds of the device
	start      time.Time // when the scheduler was free and a job was ready, not when the loop woke up
	end        time.Time
	life       <-chan struct{}
}

// part is the part of one job in a forward.
type part struct {
	job    *job
	tokens int
	to     int // tokens of the job that are computed or cached after it
}

// plan chooses the next forward, or returns nil. While another is under way, it does not
// wait for jobs.
func (s *scheduler) plan(free time.Time, underWay bool) *forward {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &forward{start: free, life: s.life}
	if s.chunked == nil {
		if len(s.waiting) == 0 || underWay && s.waiting[0].ready.After(free) {
			return nil
		}
		f.start = later(f.start, s.waiting[0].ready)
	}
	if s.blocked { // the device was idle until there was room, just now
		s.blocked, f.start = false, later(f.start, time.Now())
	}
	s.fill(f)
	if len(f.parts) == 0 {
		s.blocked = true
		return nil
	}
	p := s.profile
	uncached, squares := 0, 0.0
	for _, part := range f.parts {
		uncached += part.tokens
		squares += float64(part.job.computed) * float64(part.job.computed)
	}
	f.scheduling = float64(len(f.parts)) * p.ScheduleSeconds
	f.cost = p.ForwardSeconds + float64(p.GraphTokens(uncached))*p.TokenSeconds + squares*p.AttentionSeconds
	return f
}

// fill fills a forward with the job that was cut, and then with waiting jobs.
func (s *scheduler) fill(f *forward) {
	budget := s.profile.forwardTokens()
	if j := s.chunked; j != nil {
		s.keep(j, j.computed) // even while its forward is under way: the next comes after it
		f.parts = append(f.parts, s.cut(j, &budget))
	}
	for budget > 0 && s.chunked == nil && len(s.waiting) > 0 && s.running < s.profile.MaxRunningRequests {
		j := s.waiting[0]
		if j.ready.After(f.start) || !s.admit(j, f.start) {
			return
		}
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		f.parts = append(f.parts, s.cut(j, &budget))
	}
}

// admit makes room for a job and finds its cached part. It returns false if running jobs
// fill the cache.
func (s *scheduler) admit(j *job, start time.Time) bool {
	matched, end := s.cache.match(j.space, j.tokens[:j.reusable()])
	s.cache.hold(end)
	need := len(j.tokens) - matched
	if !s.cache.makeRoom(s.cache.capacity-s.reserved-need) && s.running > 0 {
		s.cache.release(end)
		return false
	}
	j.cached, j.computed, j.kept, j.node, j.started, j.state = matched, matched, matched, end, start, inForward
	s.running++
	s.reserved += need
	return true
}

// cut returns the part of a job that fits the forward. A job that doesn't fit becomes the
// chunked one.
func (s *scheduler) cut(j *job, budget *int) part {
	n := min(len(j.tokens)-j.computed, *budget)
	*budget -= n
	j.computed += n
	s.chunked = nil
	if j.computed < len(j.tokens) {
		s.chunked = j
	}
	return part{j, n, j.computed}
}

// complete ends a forward: it caches the computed tokens and answers the jobs whose prompt
// is read.
func (s *scheduler) complete(f *forward, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Forwards++
	s.stats.Sequences += int64(len(f.parts))
	s.stats.BusySeconds += s.clock.simulated(now.Sub(later(f.start, s.busyTo)))
	s.busyTo = now
	for _, p := range f.parts {
		j := p.job
		if j.crashed {
			continue // it was ended, and its cache is gone
		}
		s.stats.UncachedTokens += int64(p.tokens)
		s.reserved -= p.tokens
		s.keep(j, p.to)
		switch {
		case p.to < j.computed: // its next part is under way
		case j.aborted:
			if s.chunked == j {
				s.chunked = nil
			}
			s.retire(j, now)
		case s.chunked != j:
			j.read = now
			s.stats.PromptTokens += int64(len(j.tokens))
			s.stats.CachedTokens += int64(j.cached)
			s.generate(j)
		}
	}
}

// keep puts the first tokens of a job in the cache, for others to share.
func (s *scheduler) keep(j *job, tokens int) {
	if tokens <= j.kept {
		return
	}
	s.cache.release(j.node)
	j.node, j.kept = s.cache.insert(j.space, j.tokens[:tokens]), tokens
	s.cache.hold(j.node)
}

// generate ends a job after the time of its tokens beyond the first, one forward each. It
// does not delay prefill here.
func (s *scheduler) generate(j *job) {
	if j.newTokens <= 1 {
		j.made = j.newTokens
		s.retire(j, j.read)
		return
	}
	j.state = generates
	last := j.read.Add(s.clock.real(float64(j.newTokens-1) * s.profile.ForwardSeconds))
	time.AfterFunc(time.Until(last), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if j.state == generates {
			j.made = j.newTokens
			s.retire(j, last)
		}
	})
}

// madeBy returns how many tokens a job has generated at a time before its last.
func (s *scheduler) madeBy(j *job, now time.Time) int {
	each := s.clock.real(s.profile.ForwardSeconds)
	if each <= 0 {
		return j.newTokens
	}
	return min(1+int(now.Sub(j.read)/each), j.newTokens)
}

// retire releases the cache and room of a running job, and finishes it.
func (s *scheduler) retire(j *job, now time.Time) {
	s.cache.release(j.node)
	s.running--
	s.reserved -= len(j.tokens) - j.computed
	s.cache.makeRoom(s.cache.capacity - s.reserved)
	s.finish(j, now)
	s.poke()
}

func (s *scheduler) finish(j *job, now time.Time) {
	if j.aborted {
		s.stats.Aborted++
	}
	j.state, j.ended = done, now
	delete(s.live, j)
	close(j.finished)
	if len(s.live) == 0 {
		renew(&s.idle)
	}
}

// renew closes a channel and makes another.
func renew(c *chan struct{}) {
	close(*c)
	*c = make(chan struct{})
}

// abort ends the jobs for which match is true: at once if they wait or generate, after
// their forward if they are cut or will generate. It does not interrupt a forward, and a
// prompt that is complete in it is answered as usual.
func (s *scheduler) abort(match func(*job) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for j := range s.live {
		if !match(j) {
			continue
		}
		switch {
		case j.state == waits || j.state == atFrontEnd:
			s.waiting = slices.DeleteFunc(s.waiting, func(other *job) bool { return other == j })
			j.aborted = true
			s.finish(j, now)
		case j.state == generates:
			j.aborted, j.made = true, s.madeBy(j, now)
			s.retire(j, now)
		case j == s.chunked || j.newTokens > 1:
			j.aborted = true
		}
	}
}

// crash ends every job without an answer and loses the cache, as if a real server had
// crashed and restarted.
func (s *scheduler) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Crashes++
	s.dropAll()
}

// dropAll ends every job without an answer and loses the cache. It requires mu.
func (s *scheduler) dropAll() {
	for j := range s.live {
		j.crashed, j.state = true, done
		close(j.finished)
	}
	clear(s.live)
	s.waiting, s.chunked, s.running, s.reserved, s.blocked = nil, nil, 0, 0, false
	s.stats.EvictedTokens += s.cache.evicted
	s.cache = newRadix(s.profile.KVCacheTokens)
	renew(&s.life)
	renew(&s.idle)
}

// flush waits until the deadline for all jobs to end, then empties the cache, and reports
// whether it did. An error means that the server crashed.
func (s *scheduler) flush(deadline time.Time, gone <-chan struct{}) (bool, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	life := s.alive()
	for {
		idle := s.flushIfIdle()
		if idle == nil {
			return true, nil
		}
		select {
		case <-idle:
		case <-timer.C:
			return false, nil
		case <-gone:
			return false, nil
		}
		select {
		case <-life: // a crashed server is idle, too
			return false, errors.New("the simulated server died")
		default:
		}
	}
}

// flushIfIdle empties the cache and returns nil, or returns a channel that is closed when
// no job is left.
func (s *scheduler) flushIfIdle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) > 0 {
		return s.idle
	}
	s.cache.clear()
	return nil
}

// alive returns a channel that is closed when the server crashes.
func (s *scheduler) alive() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

// snapshot returns the counters and the numbers of running and waiting prompts.
func (s *scheduler) snapshot() (st Stats, running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st = s.stats
	st.EvictedTokens += s.cache.evicted
	return st, s.running, len(s.live) - s.running
}
