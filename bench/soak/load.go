package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/proxy/upstream"
)

// outcome is how one request ended for its client.
type outcome int

const (
	answered outcome = iota // as SGLang alone answers it
	rejected                // it was bad
	refused                 // not accepted, with leave to try again
	failed                  // accepted, and SGLang's failure was told
	gone                    // the client left, or the deadline came
	closed                  // sent as the stopping proxy closed the connection, so never read
	lost                    // there was no answer, or a wrong one
	outcomes
)

// kind is a kind of request.
type kind struct {
	name   string
	weight float64
	passed bool // SGLang answers it itself, and takes the answer with it when it is killed
	make   func(w *writer) try
}

// try sends a request once, the same one each time. An error says what happened where nothing
// should.
type try func(ctx context.Context, p *pair) (outcome, error)

const (
	patience   = 2 * time.Minute // for one answer
	retryPause = time.Second
	hastyShare = 0.12 // of clients that leave before the answer, or whose deadline comes
	twinShare  = 0.1  // of clients that ask the same at the same time
)

// load sends at the rate of p until ctx ends, and waits for all answers.
func (p *pair) load(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	total := 0.0
	for _, k := range p.kinds {
		total += k.weight
	}
	for n := uint64(0); p.until(ctx, time.Duration(float64(n)/p.rate*float64(time.Second))); n++ {
		at := rand.Float64() * total
		for _, k := range p.kinds {
			if at -= k.weight; at > 0 {
				continue
			}
			twins := 1
			if rand.Float64() < twinShare {
				twins = 2
			}
			for range twins {
				w := &writer{rand.New(rand.NewPCG(n, uint64(p.began))), time.Duration(time.Now().UnixNano() - p.began)} //nolint:gosec // content
				sending.Go(func() { p.one(k, k.make(w)) })
			}
			break
		}
	}
}

// one sends a request until it has ended, and checks that it could end so.
func (p *pair) one(k kind, send try) {
	limit, hasty := patience, rand.Float64() < hastyShare
	if hasty {
		limit = rand.N(150 * time.Millisecond)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		out, err := send(ctx, p)
		switch ended := ctx.Err() != nil || out == gone; {
		case !ended || out == answered || out == rejected:
		case hasty:
			out = gone
		default:
			out, err = lost, fmt.Errorf("no answer in %v: %w", time.Since(began), err)
		}
		switch failing, away := p.troubled(began); {
		case out == lost:
			p.complain("%s: %v", k.name, err)
		case out == failed && !failing && (!away || !k.passed):
			p.complain("%s failed without a cause: %v", k.name, err)
		}
		p.mu.Lock()
		p.counts[out]++
		p.mu.Unlock()
		if out != refused && out != closed {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

// told are the beginnings of what the proxy says of accepted requests that SGLang failed.
var told = []string{"SGLang can't be reached", "SGLang is busy", "SGLang failed:"}

// ofStatus classifies the end of a gRPC request.
func ofStatus(st *status.Status) (outcome, error) {
	switch st.Code() {
	case codes.OK:
		return answered, nil
	case codes.InvalidArgument:
		return rejected, st.Err()
	case codes.Canceled, codes.DeadlineExceeded:
		return gone, st.Err()
	case codes.Internal, codes.Aborted:
		return failed, st.Err()
	case codes.Unavailable, codes.ResourceExhausted:
		if upstream.RetryAfter(st) > 0 {
			return again(st.Message()), st.Err()
		}
		if strings.Contains(st.Message(), "dialing") { // no connection, so nothing was sent
			return refused, st.Err()
		}
	}
	return lost, st.Err()
}

// again says whether a request with leave to try again was refused or had been accepted.
func again(message string) outcome {
	for _, begin := range told {
		if strings.HasPrefix(message, begin) {
			return failed
		}
	}
	return refused
}

// ofHTTP classifies the end of an HTTP request that was not answered with 200.
func ofHTTP(code int, header http.Header, body []byte) (outcome, error) {
	var said struct {
		Message string
		Error   struct{ Message string }
	}
	_ = json.Unmarshal(body, &said) // another form has no message
	err := fmt.Errorf("%d %.300s", code, body)
	switch {
	case code == http.StatusBadRequest:
		return rejected, err
	case code == http.StatusGatewayTimeout, code == 499:
		return gone, err
	case code == http.StatusInternalServerError, code == http.StatusServiceUnavailable && header.Get("Retry-After") == "":
		return failed, err
	case code == http.StatusServiceUnavailable, code == http.StatusTooManyRequests:
		return again(said.Message + said.Error.Message), err
	}
	return lost, err
}

// ofTransport classifies an HTTP request without an answer.
func ofTransport(ctx context.Context, err error) (outcome, error) {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return gone, err
	case errors.As(err, &op) && op.Op == "dial":
		return refused, err
	}
	return lost, err
}

// closing is the max time from the sending of a request to the loss of its connection where
// that was being closed already.
const closing = 100 * time.Millisecond

// sendHTTP sends a request. An HTTP/1 client can't know that a server is closing the
// connection, and may send on it: an idle one (RFC 9112, 9.3.1), or one that is still in the
// kernel's queue when the listener ends. net/http drops what comes then (Go 1.26).
func (p *pair) sendHTTP(req *http.Request) (res *http.Response, out outcome, err error) {
	began := time.Now()
	var conn time.Time
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { conn = time.Now() }}
	res, err = p.http.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err == nil {
		return res, answered, nil
	}
	if out, err = ofTransport(req.Context(), err); out == lost && p.stopped(began) && time.Since(conn) < closing {
		out = closed
	}
	return nil, out, err
}

// worst joins the ends of the parts of one request.
func worst(a, b outcome) outcome {
	for _, o := range []outcome{lost, closed, gone, failed, refused, rejected} {
		if a == o || b == o {
			return o
		}
	}
	return answered
}
