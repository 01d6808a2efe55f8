package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// backend is one SGLang with all that belongs to it.
type backend struct {
	client     *sglang.Client
	upstream   *upstream
	dispatcher *dispatcher
	batcher    *batcher.Batcher[*prompt, *answer]

	receipts     receipts
	through      http.Handler // what is passed on to it
	passing      atomic.Int64 // of that, requests that are not answered
	closeThrough func()

	stopWatch context.CancelFunc
}

// cut ends what the batchers still hold.
func (p *pool) cut() {
	var wg sync.WaitGroup
	for _, b := range p.all() {
		wg.Go(b.batcher.Close)
	}
	wg.Wait()
}

// close returns when nothing runs any more.
func (p *pool) close() {
	for _, b := range p.all() {
		b.close()
	}
}

// close ends what is left at a backend and returns when nothing of it runs.
func (b *backend) close() {
	b.batcher.Close()
	b.dispatcher.wait()
	b.stopWatch()
	b.client.CloseIdle()
	b.closeThrough()
}

// meet tells the batcher of a server that may be another one than before: its
// cache is its own.
func (b *backend) meet(info sglang.ServerInfo) {
	b.batcher.Forget()
	b.batcher.SetServer(batcher.Server{
		CacheTokens: max(0, info.MaxTotalNumTokens), ForwardTokens: max(0, info.ChunkedPrefillSize), // -1 turns chunking off
	})
}

// pool is the SGLangs behind the proxy, mostly one. Which of several gets a prompt
// is decided before it is queued: each has a batcher of its own. Its methods may
// be called from any goroutine.
type pool struct {
	cfg       Config
	log       *slog.Logger
	encoders  *encoders
	readiness *readiness
	tracer    *tracer  // nil: no spans
	metrics   *metrics // nil: none

	members atomic.Pointer[[]*backend] // replaced whole
	suspect chan struct{}              // holds one token while a prompt is alone with an SGLang, see submit

	mu       sync.Mutex // guards all below, and changes of members
	settings batcher.Settings
	draining bool
	watching context.Context // nil before run
	running  *sync.WaitGroup // of run
}

func newPool(cfg Config, e *encoders, r *readiness, m *metrics, log *slog.Logger) (*pool, error) {
	p := &pool{cfg: cfg, log: log, encoders: e, readiness: r, settings: cfg.Settings, tracer: newTracer(cfg), metrics: m, suspect: make(chan struct{}, 1)}
	p.members.Store(new([]*backend))
	var fixed []*backend
	for _, u := range cfg.Upstreams {
		if _, byName := dnsName(u); byName {
			continue
		}
		b, err := p.open(u)
		if err != nil {
			return nil, err
		}
		fixed = append(fixed, b)
	}
	p.members.Store(&fixed)
	return p, nil
}

// open makes a backend that nobody watches yet.
func (p *pool) open(url string) (*backend, error) {
	client, err := sglang.NewClient(url, sglang.Options{APIKey: p.cfg.UpstreamKey, Header: p.tracer.inject})
	if err != nil {
		return nil, &ConfigError{"upstream", err.Error()}
	}
	b := &backend{client: client, receipts: newReceipts(), stopWatch: func() {}}
	b.upstream = newUpstream(client, p.cfg.VocabSize, p.encoders, p.log, func(bool, string) { p.changed() }, b.meet)
	b.dispatcher = newDispatcher(p.cfg, b.upstream, p.log)
	b.dispatcher.receipts, b.dispatcher.tracer, b.dispatcher.metrics = b.receipts, p.tracer, p.metrics
	b.dispatcher.elsewhere = func() bool { return p.otherReady(b) }
	if b.batcher, err = batcher.New(b.dispatcher, p.settings); err != nil {
		return nil, settingFlag(err)
	}
	b.through, b.closeThrough = passThrough(client, p.cfg.UpstreamKey, p.tracer, p.log)
	return b, nil
}

// all are the backends now; the slice is not to be changed.
func (p *pool) all() []*backend { return *p.members.Load() }

// run watches the backends, and the names that they come from, until ctx ends, on
// goroutines of running.
func (p *pool) run(ctx context.Context, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching, p.running = ctx, running
	for _, b := range p.all() {
		p.watch(b)
	}
	for _, u := range p.cfg.Upstreams {
		if base, byName := dnsName(u); byName {
			running.Go(func() { p.follow(ctx, base) })
		}
	}
}

// watch requires mu.
func (p *pool) watch(b *backend) {
	ctx, stop := context.WithCancel(p.watching)
	b.stopWatch = stop
	p.running.Go(func() { b.upstream.watch(ctx) })
}

// enter adds an SGLang that was found under a name.
func (p *pool) enter(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.open(url)
	if err != nil {
		p.log.Error("an address of SGLang can't be used", "upstream", url, "error", err)
		return
	}
	if p.draining {
		b.batcher.BeginDrain()
	}
	all := append(slices.Clone(p.all()), b)
	p.members.Store(&all)
	p.watch(b)
	p.log.Info("an SGLang has come", "upstream", url)
}

// leave takes one out whose name has gone: what waits for it goes to another, and
// what it works on may end.
func (p *pool) leave(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.all(), func(b *backend) bool { return b.client.URL() == url })
	if i < 0 {
		return
	}
	b := p.all()[i]
	all := slices.Delete(slices.Clone(p.all()), i, i+1)
	p.members.Store(&all)
	p.log.Info("an SGLang has gone", "upstream", url)
	p.running.Go(func() {
		ctx, cancel := context.WithTimeout(p.watching, p.cfg.DrainTimeout)
		defer cancel()
		wait := b.batcher.BeginDrain()
		_ = wait(ctx) // what is left at the timeout is cut
		b.close()
		p.changed()
	})
}

// changed follows a backend that came or went.
func (p *pool) changed() {
	ready, reason := false, ""
	for _, b := range p.all() {
		s := b.upstream.state()
		ready = ready || s.ready
		if reason == "" {
			reason = s.reason
		}
	}
	switch n := len(p.all()); {
	case n == 0:
		reason = "no SGLang has been found yet"
	case n > 1 && !ready:
		reason = fmt.Sprintf("none of %d SGLangs is ready: %s", n, reason)
	}
	p.readiness.setUpstream(ready, reason)
}

// otherReady says whether another SGLang than this one could take its work.
func (p *pool) otherReady(than *backend) bool {
	for _, b := range p.all() {
		if b != than && b.upstream.state().ready {
			return true
		}
	}
	return false
}

// first is the first backend that is ready; where none is, the first of all, or
// nil.
func (p *pool) first() *backend {
	all := p.all()
	for _, b := range all {
		if b.upstream.state().ready {
			return b
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// state is what is known of the first SGLang that is ready.
func (p *pool) state() *upstreamState {
	if b := p.first(); b != nil {
		return b.upstream.state()
	}
	return &upstreamState{reason: "no SGLang has been found yet", limits: limits{vocabSize: p.cfg.VocabSize}}
}

// choose returns an SGLang that was not tried: the first that is ready. It is nil
// where none is left.
func (p *pool) choose(tried []*backend) *backend {
	all := p.all()
	if len(all) == 1 && len(tried) == 0 {
		return all[0]
	}
	for _, b := range all {
		if b.upstream.state().ready && !slices.Contains(tried, b) {
			return b
		}
	}
	return nil
}

// ServeHTTP passes a request on to the SGLang that is ready and has the least to do.
func (p *pool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var best *backend
	var least int64
	for _, b := range p.all() {
		work := int64(b.batcher.Pending()) + b.passing.Load()
		if b.upstream.state().ready && (best == nil || work < least) {
			best, least = b, work
		}
	}
	if best == nil {
		best = p.first()
	}
	if best == nil {
		writeGenerateError(w, &notReadyError{p.state().reason})
		return
	}
	best.pass(w, r)
}

func (b *backend) pass(w http.ResponseWriter, r *http.Request) {
	b.passing.Add(1)
	defer b.passing.Add(-1)
	b.through.ServeHTTP(w, r)
}

// current is the batching settings in force.
func (p *pool) current() batcher.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// update changes the named settings everywhere, or none anywhere.
func (p *pool) update(m *pb.Settings, paths []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, err := updateSettings(p.settings, m, paths)
	if err != nil {
		return err
	}
	if err := next.Validate(); err != nil {
		return err
	}
	p.settings = next
	for _, b := range p.all() {
		if err := b.batcher.SetSettings(next); err != nil {
			return err // never: they are valid
		}
	}
	return nil
}

// beginDrain refuses new requests everywhere; what it returns waits until all
// accepted ones have ended.
func (p *pool) beginDrain() (wait func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	var waits []func(context.Context) error
	for _, b := range p.all() {
		waits = append(waits, b.batcher.BeginDrain())
	}
	return func(ctx context.Context) error {
		for _, wait := range waits {
			if err := wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// resume undoes beginDrain.
func (p *pool) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = false
	for _, b := range p.all() {
		b.batcher.Resume()
	}
}

// pending is how many requests are accepted and not ended.
func (p *pool) pending() (n int) {
	for _, b := range p.all() {
		n += b.batcher.Pending()
	}
	return n
}

// stats is what the batcher of the first SGLang holds and has done.
func (p *pool) stats() batcher.Stats {
	all := p.all()
	if len(all) == 0 {
		return batcher.Stats{}
	}
	return all[0].batcher.Stats()
}
