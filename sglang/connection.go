package sglang

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	// The server closes a connection that was idle for 5 s (uvicorn's default,
	// measured). Closing it sooner here avoids most sends on one that is closing;
	// send makes up for the rest.
	idleTimeout = 4 * time.Second
	dialTimeout = 5 * time.Second
)

// Transport is how to connect to an SGLang server, for requests that are not made
// by a Client.
func Transport() *http.Transport { return transport() }

// transport has no limit on connections and none on the time to an answer:
// batches in flight are limited elsewhere, and contexts end calls.
func transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConns:        0,    // no limit
		MaxIdleConnsPerHost: 4096, // the default of 2 would dial anew for nearly every call
		DisableCompression:  true, // answers are small, and loopback is not the bottleneck
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      16 << 10,
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// send sends what newRequest makes until an answer begins or fails for good: a
// request that a kept-alive connection lost, because the server was closing it,
// is sent again. Prefill, abort and flush are all safe to repeat.
//
// net/http repeats by itself what is lost while it reads (newRequest marks the
// request as repeatable for that), but gives up if the connection is reset while
// the body is being written (Go 1.26, persistConn.shouldRetryRequest): with a
// batch of 256 KiB that is about every second time. A new connection is never
// tried twice, so this ends.
func (c *Client) send(ctx context.Context, b *body, newRequest func(context.Context) (*http.Request, error)) (*http.Response, error) {
	for {
		var kept, answered atomic.Bool // atomic: the hooks run on net/http's goroutines
		req, err := newRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn:              func(string) { kept.Store(false); b.writing.Add(1) },
			GotConn:              func(i httptrace.GotConnInfo) { kept.Store(i.Reused) },
			GotFirstResponseByte: func() { answered.Store(true) },
			WroteHeaders:         func() { b.sent.Store(true) },
			WroteRequest:         func(httptrace.WroteRequestInfo) { b.writing.Add(-1) },
		}))
		if err != nil {
			return nil, err
		}
		res, err := c.client.Do(req)
		if err == nil || !kept.Load() || answered.Load() || ctx.Err() != nil {
			return res, err
		}
	}
}
