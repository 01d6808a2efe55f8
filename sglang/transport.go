package sglang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// The server closes a connection that was idle for 5 s (uvicorn's default,
	// measured). Closing it earlier avoids most sends on a closing connection. send
	// repeats the others.
	idleTimeout = 4 * time.Second
	dialTimeout = 5 * time.Second
)

// Dial opens a connection to host:port.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Transport returns a transport with settings for SGLang. dial opens its connections; nil
// dials TCP. It limits neither connections nor the time to an answer: the batcher limits the
// batches in flight, and contexts end calls.
func Transport(dial Dial) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConns:        0,    // no limit
		MaxIdleConnsPerHost: 4096, // the default of 2 would dial again for nearly every call
		DisableCompression:  true, // answers are small, and loopback is not the bottleneck
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      16 << 10,
	}
}

// body is the body of one request, with the state of its sending.
type body struct {
	data []byte // nil: none

	sent    atomic.Bool  // part of the request may have reached the server
	writing atomic.Int32 // calls that net/http may still be writing
}

// bodies are reused, because a list of 16 prompts of 8 KiB is 170 KiB of garbage.
var bodies = sync.Pool{New: func() any { return new(body) }}

// maxKeptBody is the max bytes of a body that is kept for reuse.
const maxKeptBody = 4 << 20

// release gives the body back for reuse after its call has ended. net/http may still read
// it, if the answer came early or the call was cancelled. Then release leaves it to the
// garbage collector.
func (b *body) release() {
	if b.writing.Load() > 0 || cap(b.data) > maxKeptBody {
		return
	}
	b.data = b.data[:0]
	b.sent.Store(false)
	bodies.Put(b)
}

// open sends one request and returns its response, which has status 200. The caller must
// close its body.
func (c *Client) open(ctx context.Context, method, path string, b *body) (*http.Response, error) {
	where := whereOf(method, path)
	res, err := c.send(ctx, method, path, b)
	if err != nil {
		return nil, transportError(ctx, where, b.sent.Load(), err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // the body has been read, or its error is reported
	data, err := c.readAll(ctx, where, res)
	if err != nil {
		return nil, err
	}
	return nil, errorFromBody(where, res.StatusCode, data)
}

// send sends a request. It sends it again if it was lost on a kept-alive connection that
// the server was closing: prefill, abort and flush are safe to repeat. It never repeats a
// request that failed on a new connection, so the loop ends.
//
// net/http repeats a request that is lost while it reads (newRequest marks the request as
// repeatable). It does not if the connection is reset while it writes the body (Go 1.26,
// persistConn.shouldRetryRequest). With a batch of 256 KiB that is about every second
// time.
func (c *Client) send(ctx context.Context, method, path string, b *body) (*http.Response, error) {
	for {
		var kept, answered atomic.Bool // atomic: the hooks run on net/http's goroutines
		req, err := c.newRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn:              func(string) { kept.Store(false); b.writing.Add(1) },
			GotConn:              func(i httptrace.GotConnInfo) { kept.Store(i.Reused) },
			GotFirstResponseByte: func() { answered.Store(true) },
			WroteHeaders:         func() { b.sent.Store(true) },
			WroteRequest:         func(httptrace.WroteRequestInfo) { b.writing.Add(-1) },
		}), method, path, b.data)
		if err != nil {
			return nil, err
		}
		res, err := c.client.Do(req)
		if err == nil || !kept.Load() || answered.Load() || ctx.Err() != nil {
			return res, err
		}
	}
}

func (c *Client) newRequest(ctx context.Context, method, path string, data []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if data != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	// A nil value is not sent. It tells net/http that the request is safe to repeat.
	req.Header["Idempotency-Key"] = nil
	if c.header != nil {
		c.header(ctx, req.Header)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// trustedLength is the max bytes of an announced length that are allocated before they
// arrive.
const trustedLength = 1 << 20

func (c *Client) readAll(ctx context.Context, where string, res *http.Response) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, res.ContentLength), trustedLength)))
	_, err := data.ReadFrom(io.LimitReader(res.Body, c.limit+1))
	switch {
	case err != nil:
		return nil, cutShort(ctx, where, err)
	case int64(data.Len()) > c.limit:
		return nil, c.tooLong(where, res.StatusCode)
	}
	return data.Bytes(), nil
}

// transportError returns the error of a call without a complete answer.
func transportError(ctx context.Context, where string, sent bool, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sglang: %s: %w", where, ctx.Err())
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which may hold a secret
	}
	return &Error{Where: where, Kind: KindUnreachable, Message: err.Error(), Sent: sent, cause: err}
}

func cutShort(ctx context.Context, where string, err error) error {
	return transportError(ctx, where, true, fmt.Errorf("the answer was cut short: %w", err))
}

func (c *Client) tooLong(where string, status int) *Error {
	return &Error{Where: where, Status: status, Kind: KindTooLong, Message: fmt.Sprintf("the answer is longer than %d bytes", c.limit)}
}

// exchangeBody is exchange with a body that the caller releases.
func (c *Client) exchangeBody(ctx context.Context, method, path string, b *body) ([]byte, http.Header, error) {
	res, err := c.open(ctx, method, path, b)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // the body has been read, or its error is reported
	data, err := c.readAll(ctx, whereOf(method, path), res)
	return data, res.Header, err
}

// whereOf returns the name of a call in errors, without the query.
func whereOf(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	return method + " " + path
}

// The media types of answers.
const (
	jsonType  = "application/json"
	eventType = "text/event-stream"
)

func wantType(want, where string, h http.Header) error {
	got := h.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(got); err == nil && kind == want {
		return nil
	}
	return protocolError(where, fmt.Sprintf("the answer's content type is %.60q, expected %s", got, want))
}

// tolerant makes json/v2 read what encoding/json does, but names must match in case.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
