package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"paceline/sglang"
)

// Options are the options of a Server.
type Options struct {
	Profile Profile
	Speed   float64 // simulated seconds per real second; 0 means 1
}

// Server is a simulated SGLang. Its methods may be called from any goroutine.
type Server struct {
	profile   Profile
	clock     clock
	front     frontEnd
	scheduler *scheduler
	mux       *http.ServeMux
	started   time.Time

	mu     sync.Mutex
	rids   map[string]bool // in use
	http   []*http.Server
	served sync.WaitGroup
}

// longestBody bounds what is read of a request; a list of long prompts fits.
const longestBody = 256 << 20

// New starts a simulated server. It serves nothing before Listen, or before its
// Handler is used. Close ends it.
func New(o Options) (*Server, error) {
	if o.Speed == 0 {
		o.Speed = 1
	}
	if !(o.Speed > 0 && o.Speed <= 1000) {
		return nil, fmt.Errorf("speed: must be above 0 and at most 1000, got %v", o.Speed)
	}
	if err := o.Profile.Validate(); err != nil {
		return nil, fmt.Errorf("profile %s: %w", o.Profile.Name, err)
	}
	c := clock{o.Speed}
	s := &Server{
		profile: o.Profile, clock: c, scheduler: newScheduler(o.Profile, c),
		mux: http.NewServeMux(), started: time.Now(), rids: map[string]bool{},
	}
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	s.mux.HandleFunc("POST /generate", s.generate)
	s.mux.HandleFunc("PUT /generate", s.generate)
	s.controlRoutes()
	s.infoRoutes()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
	})
}

// Handler returns the HTTP interface, to be served in any way.
func (s *Server) Handler() http.Handler { return s.mux }

// Listen serves on addr (host:port, port 0 for one of the system's choice) until
// Close, and returns the base URL.
func (s *Server) Listen(addr string) (string, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // bound at once, and for the life of the server
	if err != nil {
		return "", err
	}
	h := &http.Server{
		Handler:           s.mux,
		IdleTimeout:       5 * time.Second, // SGLang's own
		ReadHeaderTimeout: 10 * time.Second,
	}
	s.mu.Lock()
	s.http = append(s.http, h)
	s.mu.Unlock()
	s.served.Go(func() { _ = h.Serve(l) }) // always http.ErrServerClosed, after Close
	return "http://" + l.Addr().String(), nil
}

// Close ends the server: its connections are closed and prompts that are being
// read get no answer.
func (s *Server) Close() error {
	s.mu.Lock()
	servers := s.http
	s.http = nil
	s.mu.Unlock()
	var errs []error
	for _, h := range servers {
		errs = append(errs, h.Close())
	}
	s.scheduler.close()
	s.served.Wait()
	return errors.Join(errs...)
}

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	st, _, _ := s.scheduler.snapshot()
	return st
}

// generate answers /generate.
func (s *Server) generate(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, longestBody))
	if err != nil {
		return // the client has gone
	}
	c, err := parseCall(body, s.profile)
	deadly := false
	if err == nil {
		deadly, err = c.check(s.profile)
	}
	if err == nil && !deadly {
		err = s.claim(c)
	}
	switch {
	case err != nil:
		s.refuse(w, err, c)
		return
	case deadly:
		s.scheduler.crash(true)
		panic(http.ErrAbortHandler) // the connection drops, as when the process dies
	}
	defer s.unclaim(c)
	jobs := s.handOver(c, arrived)
	switch {
	case c.stream:
		s.stream(w, r, c, jobs)
	default:
		s.answer(w, r, c, jobs)
	}
}

// claim takes the call's rids; one in use refuses the call.
func (s *Server) claim(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.prompts {
		if s.rids[p.rid] {
			return meaning("Duplicate request ID detected: " + p.rid)
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

// handOver takes a call through the front end to the scheduler. Ids arrive there
// as one message; text is tokenized and handed over prompt by prompt, so that a
// forward may begin with the first of a list (sglang 0.5.23).
func (s *Server) handOver(c *call, arrived time.Time) []*job {
	jobs := make([]*job, len(c.prompts))
	for i, p := range c.prompts {
		jobs[i] = &job{rid: p.rid, space: p.space, tokens: p.tokens, newToks: p.newTokens, arrived: arrived, finished: make(chan struct{})}
	}
	s.scheduler.enter(jobs)
	s.front.reserve(arrived, s.clock.real(s.profile.CallSeconds))
	ready := make([]time.Time, len(jobs))
	for i, p := range c.prompts {
		ready[i] = s.front.reserve(arrived, s.clock.real(s.profile.RequestSeconds+float64(p.bytes)*s.profile.TokenizeSecondsPerByte))
	}
	if len(jobs) == 0 {
		return jobs
	}
	if !c.text {
		last := ready[len(ready)-1]
		for _, j := range jobs {
			j.ready = last
		}
		sleepUntil(last, s.scheduler.closed)
		s.scheduler.submit(jobs...)
		return jobs
	}
	for i, j := range jobs {
		j.ready = ready[i]
		sleepUntil(j.ready, s.scheduler.closed)
		s.scheduler.submit(j)
	}
	return jobs
}

// answer waits for all prompts of a call and writes the whole answer.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *call, jobs []*job) {
	answers := make([]sglang.Answer, len(jobs))
	for i, j := range jobs {
		s.await(r.Context(), j, nonStreamNotice)
		answers[i] = s.reply(c.prompts[i], j)
	}
	if c.list {
		writeJSON(w, http.StatusOK, answers)
		return
	}
	writeJSON(w, http.StatusOK, answers[0])
}

// How long SGLang takes to notice a closed connection, in simulated seconds
// (measured).
const (
	nonStreamNotice = 2.5
	streamNotice    = 0.25
)

// await returns when the job has ended. When its client goes away the job is
// aborted after the time SGLang takes to notice. A job that ended by a crash, or
// by Close, drops the connection.
func (s *Server) await(ctx context.Context, j *job, notice float64) {
	select {
	case <-j.finished:
	case <-ctx.Done():
		sleepUntil(time.Now().Add(s.clock.real(notice)), j.finished)
		s.scheduler.abort(func(other *job) bool { return other == j })
		<-j.finished
	}
	if j.crashed {
		panic(http.ErrAbortHandler)
	}
}

// refuse writes an error answer; for a stream it is an event under status 200.
func (s *Server) refuse(w http.ResponseWriter, err error, c *call) {
	var ref *refusal
	if !errors.As(err, &ref) {
		ref = &refusal{status: 500, body: []byte("Internal Server Error"), plain: true}
	}
	switch {
	case ref.plain:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(ref.status)
		_, _ = w.Write(ref.body)
	case c.stream:
		streamError(w, ref)
	default:
		writeRaw(w, ref.status, ref.body)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) { writeRaw(w, status, marshal(v)) }

func writeRaw(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has gone
}
