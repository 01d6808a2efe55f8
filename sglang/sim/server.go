package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"paceline/sglang/sim/dialect"
)

// Options are the options of a Server.
type Options struct {
	Profile Profile
	Speed   float64 // simulated seconds per real second; 0 means 1

	// Version is the version of SGLang to play, from 0.5.10 on; "" means 0.5.23. It lacks what
	// came later, as far as version.go lists it. All else is as in 0.5.23.
	Version string
}

// Server is a simulated SGLang. It is safe for concurrent use.
type Server struct {
	profile   Profile
	version   string
	release   release // of version
	clock     clock
	front     frontEnd
	scheduler *scheduler
	mux       *http.ServeMux
	started   time.Time

	mu     sync.Mutex
	rids   map[string]bool // in use
	http   []*http.Server
	served sync.WaitGroup
	once   sync.Once // Close
}

// maxBody is the max bytes of a request. A list of long prompts fits.
const maxBody = 256 << 20

// New starts a simulated server. Serve it with Listen or Handler; end it with Close.
func New(o Options) (*Server, error) {
	if o.Speed == 0 {
		o.Speed = 1
	}
	if !(o.Speed > 0 && o.Speed <= 1000) {
		return nil, fmt.Errorf("speed: must be above 0 and at most 1000, got %v", o.Speed)
	}
	o.Version = cmp.Or(o.Version, newest)
	release, err := parseRelease(o.Version)
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if err := o.Profile.Validate(); err != nil {
		return nil, fmt.Errorf("profile %s: %w", o.Profile.Name, err)
	}
	s := &Server{
		profile: o.Profile, version: o.Version, release: release, clock: clock{o.Speed}, mux: http.NewServeMux(), started: time.Now(),
		rids: map[string]bool{},
	}
	s.front.record, s.front.free = o.Profile.Contention > 0, make([]time.Time, max(1, o.Profile.Tokenizers))
	s.scheduler = newScheduler(o.Profile, s.clock, &s.front)
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	read, hidden := []string{"GET"}, s.release.hidden()
	for _, r := range []struct {
		paths   []string
		methods []string
		handle  http.HandlerFunc
	}{
		{[]string{"/generate"}, []string{"PUT", "POST"}, s.generate(nil)},
		{[]string{"/tokenize"}, []string{"POST"}, s.tokenize},
		{[]string{"/flush_cache"}, []string{"GET", "POST"}, s.flush},
		{[]string{"/abort_request"}, []string{"POST"}, s.abort},
		{[]string{"/ping", "/ready"}, read, func(http.ResponseWriter, *http.Request) {}},
		{[]string{"/health", "/health_generate"}, read, s.health},
		{[]string{"/model_info", "/get_model_info"}, read, s.modelInfo},
		{[]string{"/server_info", "/get_server_info"}, read, s.serverInfo},
		{[]string{"/v1/models"}, read, s.models},
		{[]string{"/v1/loads"}, read, s.loads},
		{[]string{"/metrics"}, read, s.metrics},
		{[]string{"/openapi.json"}, read, s.openAPI},
	} {
		for _, path := range r.paths {
			if hidden[path] {
				continue
			}
			for _, method := range r.methods {
				s.mux.HandleFunc(method+" "+path, r.handle)
			}
		}
	}
	for _, d := range dialect.All() {
		s.mux.HandleFunc("POST "+d.Path, s.generate(d))
	}
	for _, path := range dialect.ScoringPaths() {
		if !hidden[path] {
			s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, s.release.scoring(path)) })
		}
	}
	for _, path := range dialect.EmbeddingPaths() {
		s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, dialect.Embedding(path)) })
	}
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "SGLang is running")
	})
	s.mux.HandleFunc("/", s.noRoute)
}

// noRoute answers a path that has another method with 405, and any other with 404.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		if _, pattern := s.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); pattern != "/" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"detail": "Method Not Allowed"})
}

// Handler returns the HTTP interface.
func (s *Server) Handler() http.Handler { return s.mux }

// Listen serves on addr until Close and returns the base URL. addr is host:port. Port 0
// means a free one.
func (s *Server) Listen(addr string) (string, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // bound at once, and for the life of the server
	if err != nil {
		return "", err
	}
	return s.Serve(l), nil
}

// Serve serves on a listener until Close and returns the base URL.
func (s *Server) Serve(l net.Listener) string {
	h := &http.Server{
		Handler:           s.mux,
		IdleTimeout:       5 * time.Second, // SGLang's own
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.mu.Lock()
	s.http = append(s.http, h)
	s.mu.Unlock()
	s.served.Go(func() { _ = h.Serve(l) }) // always http.ErrServerClosed, after Close
	return "http://" + l.Addr().String()
}

// Close ends the server: it closes its connections, and prompts under way get no answer.
// Calls after the first do nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	servers := s.http
	s.http = nil
	s.mu.Unlock()
	var errs []error
	for _, h := range servers {
		errs = append(errs, h.Close())
	}
	s.once.Do(s.scheduler.close)
	s.served.Wait()
	return errors.Join(errs...)
}

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	st, _, _ := s.scheduler.snapshot()
	return st
}

// generate answers /generate, or a path that says the same in a dialect.
func (s *Server) generate(d *dialect.Dialect) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, d) }
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, d *dialect.Dialect) {
	arrived := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client has gone
	}
	c, err := readCall(body, d, s.profile)
	spent := c.seconds(s.profile)
	if embeds := d != nil && d.Embeds; err == nil && embeds != s.profile.Embedding {
		err = meaning("This model does not appear to be %s model.", map[bool]string{true: "an embedding", false: "a generation"}[embeds])
	}
	if err == nil {
		err = c.check(s.profile)
		for i := range c.prompts {
			if p := &c.prompts[i]; s.release < cacheSalts { // it ignores salts
				p.space = p.space[strings.LastIndexByte(p.space, 0):]
			}
		}
		for _, p := range c.prompts { // text is tokenized before its length is known
			spent += float64(p.bytes) * s.profile.TokenizeSecondsPerByte
		}
	}
	if err == nil && !c.deadly {
		err = s.reserve(c)
	}
	if err != nil || c.deadly { // the call goes no further than the front end, where it queues like any other
		ends := s.front.reserve(arrived, s.clock.real(spent))
		sleepUntil(ends[0], r.Context().Done())
	}
	switch {
	case err != nil:
		s.refuse(w, err, c)
		return
	case c.deadly: // a real server ends; this one restarts at once
		s.front.restart()
		s.scheduler.crash()
		panic(http.ErrAbortHandler) // the connection drops, as when the process dies
	}
	defer s.unclaim(c)
	notice := nonStreamNotice
	if c.stream {
		notice = streamNotice
	}
	jobs := make([]*job, len(c.prompts))
	for i := range c.prompts {
		jobs[i] = &job{prompt: &c.prompts[i], arrived: arrived, finished: make(chan struct{})}
	}
	life := s.scheduler.register(jobs)
	stop := s.abortWhenGone(r.Context(), jobs, notice)
	defer stop()
	s.handOver(c, arrived, jobs, life)
	if c.stream {
		s.stream(w, c, jobs)
		return
	}
	s.answer(w, c, jobs)
}

// reserve marks the rids of a call as in use. It refuses the call if one already is.
func (s *Server) reserve(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.prompts {
		if s.rids[p.rid] {
			return meaning("Duplicate request ID detected: %s", p.rid)
		}
	}
	for _, p := range c.prompts {
		s.rids[p.rid] = true
	}
	return nil
}

func (s *Server) unclaim(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.prompts {
		delete(s.rids, p.rid)
	}
}

// handOver passes a call through the front end to the scheduler, or returns when the server
// crashes. Ids arrive there as one message. Texts are tokenized and handed over one by one,
// so a forward may begin with the first of a list (sglang 0.5.23).
func (s *Server) handOver(c *call, arrived time.Time, jobs []*job, life <-chan struct{}) {
	pieces := []time.Duration{s.clock.real(c.seconds(s.profile))}
	for _, p := range c.prompts {
		pieces = append(pieces, s.clock.real(s.profile.RequestSeconds+float64(p.bytes)*s.profile.TokenizeSecondsPerByte))
	}
	ends := s.front.reserve(arrived, pieces...)
	last := ends[len(jobs)]
	for i, j := range jobs {
		j.ready = last
		if c.text {
			j.ready = ends[i+1]
			sleepUntil(j.ready, life)
			s.scheduler.submit(j)
		}
	}
	sleepUntil(last, life)
	if !c.text {
		s.scheduler.submit(jobs...)
	}
}

// How long SGLang takes to notice a closed connection, in simulated seconds
// (measured).
const (
	nonStreamNotice = 2.5
	streamNotice    = 0.25
)

// abortWhenGone aborts all jobs of a call after its client has gone, with the delay with
// which SGLang notices it, until stop is called.
func (s *Server) abortWhenGone(ctx context.Context, jobs []*job, notice float64) (stop func()) {
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		sleepUntil(time.Now().Add(s.clock.real(notice)), stopped)
		s.scheduler.abort(func(j *job) bool { return slices.Contains(jobs, j) })
	})
	return func() {
		unwatch()
		close(stopped)
	}
}
