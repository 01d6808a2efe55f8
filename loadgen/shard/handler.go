package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"paceline/loadgen/sweep"
)

// Statuses of a refusal.
const (
	statusRefused = http.StatusConflict // this member can't take part
	statusEnded   = http.StatusGone     // nobody can any more
)

// Handler serves the shards.
func (c *Coordinator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathJoin, answer(mostWords, c.join))
	mux.HandleFunc("POST "+pathNext, answer(mostWords, c.next))
	mux.HandleFunc("POST "+pathAlive, answer(mostWords, c.alive))
	mux.HandleFunc("POST "+pathResult, answer(mostResult, c.result))
	mux.HandleFunc("POST "+pathFailed, answer(mostWords, c.failed))
	return mux
}

// answer reads a message of at most so many bytes and writes what f makes of it.
func answer[M, A any](most int64, f func(context.Context, M) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var m M
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
		if err := body.Decode(&m); err != nil {
			write(w, http.StatusBadRequest, refusal{"the message can't be read: " + err.Error()})
			return
		}
		if _, err := body.Token(); !errors.Is(err, io.EOF) {
			write(w, http.StatusBadRequest, refusal{"the message has more after its end"})
			return
		}
		a, err := f(r.Context(), m)
		switch {
		case errors.Is(err, ErrEnded):
			write(w, statusEnded, refusal{err.Error()})
		case err != nil:
			write(w, statusRefused, refusal{err.Error()})
		default:
			write(w, http.StatusOK, a)
		}
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a member that went away asks again
}

// nothing answers a message that needs no answer.
type nothing struct{}

// join takes a shard in. One that was started again replaces itself as long as nothing
// has begun; later its first life has taken its part of a pass with it, and the sweep
// ends.
func (c *Coordinator) join(_ context.Context, j joining) (joined, error) {
	answer := joined{c.Plan.Speed, c.Timeout.Seconds()}
	if j.Of != c.Shards || j.Shard < 0 || j.Shard >= c.Shards {
		return answer, fmt.Errorf("-shard: %d/%d is none of the coordinator's %d shards", j.Shard, j.Of, c.Shards)
	}
	var err error
	c.change(func() {
		if c.members == nil {
			c.members = make([]*member, c.Shards)
		}
		before := c.members[j.Shard]
		switch {
		case c.err != nil:
			err = c.err
		case before != nil && before.Member == j.Member: // its answer was lost
			before.lost.Reset(c.Timeout)
		case c.begun:
			err = errors.New("was started again in the middle of the sweep")
		default:
			if err = c.differs(j); err != nil {
				return
			}
			if before != nil {
				before.lost.Stop()
			}
			c.members[j.Shard] = &member{joining: j, ready: -1, lost: time.AfterFunc(c.Timeout, func() {
				c.fail(fmt.Errorf("shard %d has not been heard of for %v", j.Shard, c.Timeout))
			})}
		}
	})
	if err == nil {
		return answer, nil
	}
	if !errors.Is(err, ErrEnded) {
		c.fail(fmt.Errorf("shard %d: %w", j.Shard, err))
	}
	c.change(func() { c.hears(j.Shard) })
	return answer, err
}

// differs says what a member does not share with the coordinator or with another
// member; mu is held.
func (c *Coordinator) differs(j joining) error {
	if d := sweep.Differences(c.Facts, j.Facts); len(d) > 0 {
		return fmt.Errorf("another plan than the coordinator's (there): %s", sweep.Told(d))
	}
	for i, m := range c.members {
		if m == nil || i == j.Shard {
			continue
		}
		if d := sweep.Differences(m.Prompts, j.Prompts); len(d) > 0 {
			return fmt.Errorf("another load than shard %d's (there): %s", i, sweep.Told(d))
		}
	}
	return nil
}

// heard finds the member that a message is from, and notes that it lives. f is called
// with mu held.
func (c *Coordinator) heard(a about, f func(*member)) error {
	var err error
	c.change(func() {
		if a.Shard < 0 || a.Shard >= len(c.members) || c.members[a.Shard] == nil || c.members[a.Shard].Member != a.Member {
			err = c.err
			if err == nil {
				err = fmt.Errorf("shard %d has not joined", a.Shard)
			}
			return
		}
		m := c.members[a.Shard]
		m.lost.Reset(c.Timeout)
		if f(m); c.err != nil {
			c.hears(a.Shard)
			err = c.err
		}
	})
	return err
}

// next waits until there is another step than the one the member has ended. It answers
// step 0 when there is none for a while: the member then asks again, which also tells
// that it lives.
func (c *Coordinator) next(ctx context.Context, a about) (step, error) {
	if err := c.heard(a, func(m *member) { m.ready = a.Step }); err != nil {
		return step{}, err
	}
	ctx, done := context.WithTimeout(ctx, c.Timeout/4)
	defer done()
	var s step
	err := c.await(ctx, func() bool {
		s = c.step
		return s.Number > a.Step
	})
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrEnded) {
		return step{}, c.heard(a, func(*member) {})
	}
	heard := c.heard(a, func(*member) {
		if s.Kind == stepEnd {
			c.hears(a.Shard)
		}
	})
	return s, errors.Join(err, heard)
}

func (c *Coordinator) alive(_ context.Context, a about) (nothing, error) {
	return nothing{}, c.heard(a, func(*member) {})
}

func (c *Coordinator) result(_ context.Context, r result) (nothing, error) {
	return nothing{}, c.heard(r.about, func(m *member) {
		if r.Step == c.step.Number { // else it is of a pass that has ended
			m.result = &r
		}
	})
}

func (c *Coordinator) failed(_ context.Context, f failed) (nothing, error) {
	if err := c.heard(f.about, func(*member) { c.hears(f.Shard) }); err != nil {
		return nothing{}, err
	}
	c.fail(fmt.Errorf("shard %d: %s", f.Shard, f.Error))
	return nothing{}, nil
}
