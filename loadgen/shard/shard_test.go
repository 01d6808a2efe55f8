package shard

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ flag.Value = new(Part)

func TestThePartsHoldEachConversationOnceAndAllCallers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []target.Prompt
		for i := range rapid.IntRange(0, 40).Draw(t, "prompts") {
			follows := i > 0 && rapid.Bool().Draw(t, "follows")
			all = append(all, target.Prompt{ID: fmt.Sprint(i), Follows: follows, Joins: i > 0 && !follows && rapid.Bool().Draw(t, "joins")})
		}
		of, callers := rapid.IntRange(1, 9).Draw(t, "of"), rapid.IntRange(1, 100).Draw(t, "callers")
		home, sum := map[string]int{}, 0
		for i := range of {
			own := Part{i, of}.Prompts(all)
			for k, p := range own {
				if _, twice := home[p.ID]; twice || k == 0 && (p.Follows || p.Joins) {
					t.Fatalf("prompt %s is in two parts, or without its beginning", p.ID)
				}
				home[p.ID] = i
			}
			share := Part{i, of}.Plan(sweep.Plan{Concurrency: callers}).Concurrency
			sum += share
			if share < callers/of || share > callers/of+1 {
				t.Fatalf("%d of %d callers", share, callers)
			}
		}
		if len(home) != len(all) || sum != callers {
			t.Fatalf("%d of %d prompts, %d of %d callers", len(home), len(all), sum, callers)
		}
		for i, p := range all {
			if (p.Follows || p.Joins) && home[p.ID] != home[all[i-1].ID] {
				t.Fatal("a conversation is torn, or from its copy")
			}
		}
	})
}

func TestAPartIsReadAsItIsWritten(t *testing.T) {
	var p Part
	for _, bad := range []string{"", "1", "1/", "/2", "2/2", "-1/2", "0/0", "0/1025", "0/2/3", "a/b"} {
		if err := p.Set(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := p.Set("3/4"); err != nil || p != (Part{3, 4}) || p.String() != "3/4" {
		t.Errorf("%+v, %v", p, err)
	}
}

func plan() sweep.Plan {
	return sweep.Plan{
		Settings: append(sweep.Multiply([]int{1, 4}, []int{1, 2}, []time.Duration{0}, []sweep.Order{sweep.FIFO}), sweep.Setting{Mode: sweep.ModeUnbatched}),
		Repeats:  1, Concurrency: 4, Timeout: time.Second, Speed: 1,
	}
}

// work is a Worker that takes a second for a pass and says how many were at one.
type work struct {
	part    Part
	at      *atomic.Int64 // workers in a pass
	steered *atomic.Int64 // times that a setting was put in force
	passes  []sweep.Pass
	fail    error // of the third pass
	t       *testing.T
}

func (w *work) WarmUp(context.Context) error { return nil }

func (w *work) Measure(ctx context.Context, p sweep.Pass) (*report.Run, []report.Request, error) {
	w.at.Add(1)
	defer w.at.Add(-1)
	before := w.steered.Load()
	w.passes = append(w.passes, p)
	started := time.Now()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if len(w.passes) == 3 && w.fail != nil {
		return nil, nil, w.fail
	}
	if w.steered.Load() != before {
		w.t.Error("a setting changed in the middle of a pass")
	}
	run := &report.Run{
		Setting: p.Setting.Name(), Mode: string(p.Setting.Mode), BatchSize: p.Setting.BatchSize, Phase: string(p.Phase), Repeat: p.Repeat, StartedAt: started,
		Total: 1, Completed: 1, Complete: true, WallSeconds: 1, PromptTokens: 10,
		LatencyHistogram: stats.NewHistogram(time.Second), QueueWaitHistogram: stats.NewHistogram(),
		Latency: stats.Summarize([]float64{1}),
	}
	return run, []report.Request{{Setting: run.Setting, Trajectory: fmt.Sprint(w.part.Index), LatencySeconds: 1}}, nil
}

// direct is an http.RoundTripper to a handler in this process: no sockets, so that time
// may be virtual.
type direct struct {
	h    http.Handler
	gone *atomic.Bool
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.gone.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { defer close(done); d.h.ServeHTTP(w, r) }()
	<-done
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// cluster is a coordinator with its shards.
type cluster struct {
	*Coordinator
	workers []*work
	members []*Member
	gone    []atomic.Bool // a shard whose process is dead
}

func newCluster(t *testing.T, n int) *cluster {
	var at, steered atomic.Int64
	c := &cluster{gone: make([]atomic.Bool, n)}
	c.Coordinator = &Coordinator{Plan: plan(), Shards: n, Timeout: time.Minute, Facts: []sweep.Fact{{Name: "-n", Value: "3"}}}
	c.Steer = func(context.Context, sweep.Pass) error {
		if at.Load() > 0 {
			t.Error("steered in the middle of a pass")
		}
		steered.Add(1)
		return nil
	}
	for i := range n {
		c.workers = append(c.workers, &work{part: Part{i, n}, at: &at, steered: &steered, t: t})
		c.members = append(c.members, c.member(t, i))
	}
	return c
}

func (c *cluster) member(t *testing.T, i int) *Member {
	m, err := NewMember(Part{i, c.Shards}, "http://coordinator")
	if err != nil {
		t.Fatal(err)
	}
	m.Client = &http.Client{Transport: direct{c.Handler(), &c.gone[i]}}
	m.Facts, m.Prompts, m.Source = c.Facts, []sweep.Fact{{Name: "prompts", Value: "4"}}, report.Source{Count: 4}
	return m
}

// run runs all; errs are the shards', by their number.
func (c *cluster) run(ctx context.Context) (runs []report.Run, requests int, errs []error, err error) {
	errs = make([]error, len(c.members))
	var all sync.WaitGroup
	for i, m := range c.members {
		all.Go(func() {
			speed, err := m.Join(ctx)
			if err == nil && speed != 1 {
				err = fmt.Errorf("speed %v", speed)
			}
			if err == nil {
				err = m.Run(ctx, c.Plan, c.workers[i], func(report.Run, []report.Request) {})
			}
			errs[i] = err
		})
	}
	_, _, _, err = c.Join(ctx)
	if err == nil {
		err = c.WarmUp(ctx)
	}
	if err == nil {
		runs, err = sweep.Schedule{Plan: c.Plan, Runner: c, Measured: func(_ report.Run, q []report.Request) error {
			requests += len(q)
			return nil
		}}.Run(ctx)
	}
	c.End(err)
	all.Wait()
	return runs, requests, errs, err
}

func TestFourShardsMeasureEachPassTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		accounts := 0
		c.Account = func(context.Context) func(context.Context, *report.Run) {
			return func(_ context.Context, run *report.Run) { accounts++; run.Notes = append(run.Notes, "accounted") }
		}
		runs, requests, errs, err := c.run(t.Context())
		if err != nil || errors.Join(errs...) != nil || len(runs) != c.Plan.Passes() || requests != 4*len(runs) || accounts != len(runs) {
			t.Fatalf("%d runs, %d requests, %v, %v", len(runs), requests, err, errs)
		}
		for i, r := range runs {
			if r.Total != 4 || r.Completed != 4 || r.PromptTokens != 40 || r.WallSeconds != 1 || r.RequestThroughput != 4 || r.Latency.Count != 4 || len(r.Notes) != 1 {
				t.Errorf("%+v", r)
			}
			for _, w := range c.workers {
				if p := w.passes[i]; p.Setting.Name() != r.Setting || string(p.Phase) != r.Phase || p.Repeat != r.Repeat || p.Number != i+1 || p.Of != len(runs) {
					t.Errorf("shard %v did %v for %s", w.part, p, r.Setting)
				}
			}
		}
	})
}

// failing runs a cluster that fails, and holds that all know why.
func failing(t *testing.T, c *cluster, ctx context.Context, why string, silent int) {
	t.Helper()
	runs, _, errs, err := c.run(ctx)
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("the coordinator says %v, want %s", err, why)
	}
	for i, e := range errs {
		if i != silent && (e == nil || !strings.Contains(e.Error(), why)) {
			t.Errorf("shard %d says %v, want %s", i, e, why)
		}
	}
	if len(runs) == c.Plan.Passes() {
		t.Error("the sweep ended well")
	}
}

func TestAShardThatFailsEndsTheSweepForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.workers[1].fail = errors.New("the server is gone")
		failing(t, c, t.Context(), "the server is gone", -1)
	})
}

func TestAShardThatIsNotHeardOfEndsTheSweepForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		began := time.Now()
		time.AfterFunc(2500*time.Millisecond, func() { c.gone[2].Store(true) })
		failing(t, c, t.Context(), "shard 2 has not been heard of for 1m0s", 2)
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("only after %v", took)
		}
	})
}

func TestAShardWithAnotherPlanOrLoadEndsTheSweepForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.members[1].Facts = []sweep.Fact{{Name: "-n", Value: "4"}}
		failing(t, c, t.Context(), `shard 1: another plan than the coordinator's (there): -n: "3" there and "4" here`, 1)
		if _, _, errs, _ := c.run(t.Context()); errs[1] == nil {
			t.Error("a shard took part in a sweep that had ended")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.members[1].Prompts = []sweep.Fact{{Name: "prompts", Value: "5"}}
		failing(t, c, t.Context(), "another load than shard", -1)
	})
}

func TestAShardThatIsStartedAgainEndsTheSweepOnceItHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		again := c.member(t, 1) // before all are there it takes its own place
		if _, err := again.Join(t.Context()); err != nil {
			t.Error(err)
		}
		time.AfterFunc(2500*time.Millisecond, func() {
			if _, err := c.member(t, 1).Join(t.Context()); err == nil || !strings.Contains(err.Error(), "started again in the middle") {
				t.Errorf("%v", err)
			}
		})
		failing(t, c, t.Context(), "shard 1: was started again in the middle of the sweep", -1)
	})
}

func TestAnInterruptedCoordinatorTellsItsShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		time.AfterFunc(2500*time.Millisecond, interrupt)
		errs := make([]error, 2)
		var all sync.WaitGroup
		for i, m := range c.members {
			all.Go(func() {
				if _, errs[i] = m.Join(t.Context()); errs[i] == nil {
					errs[i] = m.Run(t.Context(), c.Plan, c.workers[i], func(report.Run, []report.Request) {})
				}
			})
		}
		if _, _, _, err := c.Join(ctx); err != nil {
			t.Error(err)
		}
		_, err := sweep.Schedule{Plan: c.Plan, Runner: c, Measured: func(report.Run, []report.Request) error { return nil }}.Run(ctx)
		c.End(errors.New("interrupted"))
		all.Wait()
		if !errors.Is(err, context.Canceled) || !errors.Is(errs[0], ErrEnded) || !errors.Is(errs[1], ErrEnded) {
			t.Errorf("%v, %v", err, errs)
		}
	})
}

func TestAnInterruptedShardTellsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		own, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		time.AfterFunc(2500*time.Millisecond, interrupt)
		var interrupted, other, err error
		var all sync.WaitGroup
		for i, m := range c.members {
			ctx, ends := t.Context(), &other
			if i == 1 {
				ctx, ends = own, &interrupted
			}
			all.Go(func() {
				if _, *ends = m.Join(ctx); *ends == nil {
					*ends = m.Run(ctx, c.Plan, c.workers[i], func(report.Run, []report.Request) {})
				}
			})
		}
		if _, _, _, err = c.Join(t.Context()); err == nil {
			_, err = sweep.Schedule{Plan: c.Plan, Runner: c, Measured: func(report.Run, []report.Request) error { return nil }}.Run(t.Context())
		}
		c.End(err)
		all.Wait()
		if !errors.Is(interrupted, context.Canceled) {
			t.Errorf("the shard itself: %v", interrupted)
		}
		for _, e := range []error{err, other} {
			if e == nil || !strings.Contains(e.Error(), "shard 1: interrupted") {
				t.Errorf("%v", e)
			}
		}
	})
}

func TestMissingShardsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		if _, err := c.members[1].Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, done := context.WithTimeout(t.Context(), 30*time.Second)
		defer done()
		if _, _, _, err := c.Join(ctx); err == nil || !strings.Contains(err.Error(), "1 of 3 shards have joined, missing 0, 2") {
			t.Errorf("%v", err)
		}
		c.End(errors.New("missing"))
	})
}

func TestACoordinatorMayComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.gone[0].Store(true)
		time.AfterFunc(time.Minute, func() { c.gone[0].Store(false) })
		if _, _, errs, err := c.run(t.Context()); err != nil || errors.Join(errs...) != nil {
			t.Errorf("%v, %v", err, errs)
		}
	})
}

func TestMessagesThatAreTooLongOrNoneAreRefused(t *testing.T) {
	c := &Coordinator{Plan: plan(), Shards: 2, Timeout: time.Minute}
	for body, want := range map[string]int{
		"":                    http.StatusBadRequest,
		"x":                   http.StatusBadRequest,
		`{} {}`:               http.StatusBadRequest,
		`{"shard":7,"of":2}`:  statusRefused,
		`{"shard":-1,"of":2}`: statusRefused,
		`{"member":"` + strings.Repeat("x", mostWords) + `"}`: http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathJoin, strings.NewReader(body)))
		if w.Code != want || !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%.20q: %d %s", body, w.Code, w.Body)
		}
	}
	for _, path := range []string{pathNext, pathAlive, pathResult, pathFailed} {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"shard":1,"member":"x"}`)))
		if w.Code != statusRefused || !strings.Contains(w.Body.String(), "shard 1 has not joined") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestOnlyAURLIsACoordinator(t *testing.T) {
	for _, bad := range []string{"", "host:7070", "ftp://host", "http://"} {
		if _, err := NewMember(Part{0, 1}, bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(pathJoin, `{"shard":0,"of":1,"member":"a","facts":[{"name":"-n","value":"3"}]}`)
	f.Add(pathResult, `{"shard":0,"member":"a","step":0,"run":{"setting":"4"}}`)
	f.Fuzz(func(_ *testing.T, path, body string) {
		if path != pathJoin && path != pathResult && path != pathAlive && path != pathFailed { // next waits
			return
		}
		c := &Coordinator{Plan: plan(), Shards: 1, Timeout: time.Hour}
		for range 2 {
			c.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		}
		for _, m := range c.members {
			if m != nil {
				m.lost.Stop()
			}
		}
	})
}
