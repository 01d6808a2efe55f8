package shard

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

const (
	// joinPatience is how long a member waits for a coordinator to be there at all:
	// they may be started in any order.
	joinPatience = 5 * time.Minute
	// askAgain is the pause after an answer that did not come.
	askAgain = time.Second
	// leastAnswer is how long an answer may take before the speed of the load is known.
	leastAnswer = 10 * time.Second
)

// Member is a shard's side. It steers nothing: it does what its coordinator says and
// tells what it measured.
type Member struct {
	Part
	URL    string // of the coordinator
	Client *http.Client

	Facts, Prompts []sweep.Fact // of the flags, and of the whole load
	Source         report.Source
	EnvExec        *report.EnvExec

	id    string
	lasts time.Duration // a member that is not heard of for so long is lost
}

// NewMember makes one. An error says what is wrong with the URL.
func NewMember(p Part, address string) (*Member, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("must be a URL such as http://host:7070, got %q", address)
	}
	return &Member{Part: p, URL: strings.TrimSuffix(address, "/"), Client: &http.Client{}, id: rand.Text()}, nil
}

// Join introduces the shard and answers the speed of the sweep's clock. It waits some
// minutes for a coordinator.
func (m *Member) Join(ctx context.Context) (speed float64, err error) {
	var a joined
	err = m.ask(ctx, joinPatience, pathJoin, joining{m.Index, m.Of, m.id, m.Facts, m.Prompts, m.Source, m.EnvExec}, &a)
	if err != nil {
		return 0, err
	}
	m.lasts = time.Duration(a.TimeoutSeconds * float64(time.Second))
	if m.lasts < time.Millisecond || !(a.Speed > 0) {
		return 0, fmt.Errorf("coordinator %s: answered a timeout of %v s and a speed of %v", m.URL, a.TimeoutSeconds, a.Speed)
	}
	return a.Speed, nil
}

// Worker does what the coordinator asks for.
type Worker interface {
	sweep.Runner
	WarmUp(ctx context.Context) error
}

// Run does each step until the coordinator says that the sweep has ended, or why it
// ended for all. measured is called after each pass.
func (m *Member) Run(ctx context.Context, plan sweep.Plan, w Worker, measured func(report.Run, []report.Request)) error {
	for done := 0; ; {
		var s step
		if err := m.ask(ctx, m.lasts, pathNext, m.about(done), &s); err != nil {
			return m.tellOfSignal(ctx, done, err)
		}
		if s.Kind == stepEnd {
			return nil
		}
		if s.Number == 0 { // not yet
			continue
		}
		r, err := m.do(ctx, plan, w, s)
		if err != nil {
			return m.giveUp(ctx, s.Number, err)
		}
		if r.Run != nil {
			measured(*r.Run, r.Requests)
		}
		if err := m.bring(ctx, r); err != nil {
			return m.tellOfSignal(ctx, s.Number, err)
		}
		done = s.Number
	}
}

// do is one step, during which the coordinator is told that this shard lives and tells
// whether the sweep goes on.
func (m *Member) do(ctx context.Context, plan sweep.Plan, w Worker, s step) (result, error) {
	r := result{about: m.about(s.Number)}
	working, stop := context.WithCancelCause(ctx)
	living := make(chan struct{})
	go func() { defer close(living); m.live(working, stop, s.Number) }()
	err := func() error {
		switch {
		case s.Kind == stepWarmUp:
			return w.WarmUp(working)
		case s.Kind != stepPass || s.Setting < 0 || s.Setting >= len(plan.Settings):
			return fmt.Errorf("the coordinator asks for %q at setting %d: is it another version?", s.Kind, s.Setting)
		}
		var err error
		r.Run, r.Requests, err = w.Measure(working, sweep.Pass{
			Setting: plan.Settings[s.Setting], Phase: s.Phase, Repeat: s.Repeat, Number: s.Pass, Of: s.Passes, Unmeasured: s.Unmeasured,
		})
		return err
	}()
	cause := context.Cause(working)
	stop(nil)
	<-living
	if cause != nil && ctx.Err() == nil {
		return r, cause // the coordinator's word
	}
	return r, err
}

// live tells the coordinator of this shard until ctx ends, and stops the work with its
// error.
func (m *Member) live(ctx context.Context, stop context.CancelCauseFunc, at int) {
	tick := time.NewTicker(m.lasts / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := m.ask(ctx, m.lasts, pathAlive, m.about(at), new(nothing)); err != nil && ctx.Err() == nil {
				stop(err)
				return
			}
		}
	}
}

// bring takes a result to the coordinator. Requests that are too many to be taken stay
// in this shard's own file, which the run then says.
func (m *Member) bring(ctx context.Context, r result) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(data) > mostResult {
		run := *r.Run
		run.Notes = append(run.Notes, fmt.Sprintf("the requests of shard %d were more than %d bytes and stayed in its own requests.jsonl", m.Index, mostResult))
		r.Run, r.Requests = &run, nil
	}
	return m.ask(ctx, m.lasts, pathResult, r, new(nothing))
}

// giveUp tells the coordinator that this shard can't go on, unless it was the
// coordinator who said so.
func (m *Member) giveUp(ctx context.Context, at int, err error) error {
	if errors.Is(err, ErrEnded) {
		return err
	}
	telling, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	text := err.Error()
	if ctx.Err() != nil {
		text = "interrupted"
	}
	_ = m.ask(telling, 5*time.Second, pathFailed, failed{m.about(at), text}, new(nothing)) // it will miss this shard otherwise
	return err
}

// tellOfSignal is giveUp where an error is due to a signal.
func (m *Member) tellOfSignal(ctx context.Context, at int, err error) error {
	if ctx.Err() != nil {
		return m.giveUp(ctx, at, err)
	}
	return err
}

func (m *Member) about(step int) about { return about{m.Index, m.id, step} }

// ask sends a message and reads the answer. It asks again, for so long, where none
// came: every message may come twice.
func (m *Member) ask(ctx context.Context, patience time.Duration, path string, message, into any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	until := time.Now().Add(patience)
	for {
		err := m.askOnce(ctx, path, body, into)
		var transport *url.Error
		if err == nil || ctx.Err() != nil || !errors.As(err, &transport) || !time.Now().Add(askAgain).Before(until) {
			return err
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Member) askOnce(ctx context.Context, path string, body []byte, into any) error {
	if path != pathResult { // which may be long
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, max(m.lasts, leastAnswer))
		defer done()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := m.Client.Do(req)
	if err != nil {
		return fmt.Errorf("coordinator: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	answer := json.NewDecoder(io.LimitReader(res.Body, mostWords))
	if res.StatusCode == http.StatusOK {
		if err := answer.Decode(into); err != nil {
			return fmt.Errorf("coordinator %s: its answer can't be read: %w", m.URL, err)
		}
		return nil
	}
	var r refusal
	if err := answer.Decode(&r); err != nil || r.Error == "" {
		return fmt.Errorf("coordinator %s: answered HTTP %d", m.URL, res.StatusCode)
	}
	if res.StatusCode == statusEnded {
		return fmt.Errorf("coordinator: %w", endedError(r.Error))
	}
	return fmt.Errorf("coordinator: %s", r.Error)
}

// endedError is the coordinator's reason, in its words.
type endedError string

func (e endedError) Error() string        { return string(e) }
func (e endedError) Is(target error) bool { return target == ErrEnded }
